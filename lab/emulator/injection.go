package emulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The functions of this file are called with the cloud's lock held.

// A target is an endpoint or a device. An endpoint has a frontend.
type target struct {
	kind, name string
	frontend   *frontend
	device     *device
}

func (t target) faults() faultSet {
	if t.device != nil {
		return t.device.faults
	}
	return t.frontend.faults
}

func (t target) String() string {
	if t.kind == TargetDPS {
		return t.name
	}
	return t.kind + " " + t.name
}

// target finds DPS, a hub by its name, or a device by its ID, in this order. After "device/" it
// looks only for a device.
func (c *Cloud) target(name string) (target, error) {
	id, isDevice := strings.CutPrefix(name, "device/")
	if !isDevice {
		if name == TargetDPS {
			return target{kind: TargetDPS, name: name, frontend: c.dps.frontend}, nil
		}
		if h, err := c.hub(name); err == nil {
			return target{kind: TargetHub, name: name, frontend: h.frontend}, nil
		}
	}
	if d := c.devices[id]; d != nil {
		return target{kind: TargetDevice, name: id, device: d}, nil
	}
	hubs := strings.Join(c.config.Hubs, ", ")
	return target{}, fmt.Errorf("%w: %.128q, which is neither DPS nor one of the hubs %s", ErrUnknownDevice, name, hubs)
}

// reference returns a name for which Cloud.target returns t.
func (c *Cloud) reference(t target) string {
	if other, err := c.target(t.name); err == nil && other.kind != t.kind {
		return TargetDevice + "/" + t.name
	}
	return t.name
}

// A faultSet contains the active faults of one target.
type faultSet map[Fault]*activeFault

type activeFault struct {
	Params
	target    target
	remaining int // how many times the fault still applies; used only if Count is not zero
	timer     *time.Timer
	undo      func() // set by onInject to revert its effect when the fault is cleared or injected again
}

func (a *activeFault) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// delay returns the delay of the fault. A nil fault has no delay.
func (a *activeFault) delay() time.Duration {
	if a == nil {
		return 0
	}
	return a.Delay
}

// triggered returns the active fault if it applies this time, otherwise nil. The probability and the
// count of the fault decide. If the fault is active in several sets, the first of these sets decides.
func (c *Cloud) triggered(fault Fault, at ...faultSet) *activeFault {
	for _, faults := range at {
		a := faults[fault]
		if a == nil {
			continue
		}
		if a.Probability > 0 && c.config.Rand.Float64() >= a.Probability {
			return nil
		}
		if a.remaining > 0 {
			if a.remaining--; a.remaining == 0 {
				a.stop()
				delete(faults, fault)
				c.emitFault(a.target, "%s cleared, because its count is used up", fault)
			}
		}
		return a
	}
	return nil
}

func named(err error, format string, values ...any) error {
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("emulator: "+format+": %w", append(values, err)...)
}

func (c *Cloud) inject(t target, fault Fault, p Params) error {
	if c.isClosed() {
		return ErrClosed
	}
	k, err := findFault(fault)
	if err == nil {
		err = k.Check(t.kind, p)
	}
	if err != nil {
		return err
	}
	a, prior := &activeFault{Params: p, target: t, remaining: p.Count}, maps.Clone(t.faults())
	if old := prior[fault]; old != nil && old.undo != nil {
		old.undo()
	}
	t.activate(k, a)
	c.emitFault(t, "%s injected%s", fault, p)
	if k.onInject != nil {
		if err := k.onInject(c, t, a); err != nil {
			clear(t.faults())
			maps.Copy(t.faults(), prior)
			c.emitFault(t, "%s could not be injected: %v", fault, err)
			return err
		}
	}
	for other, old := range prior {
		if t.faults()[other] != old {
			old.stop()
		}
	}
	if p.For > 0 {
		a.timer = time.AfterFunc(p.For, func() { c.expireFault(t, k, a) })
	}
	return nil
}

// activate adds a fault and removes the other faults of its group.
func (t target) activate(k *faultKind, a *activeFault) {
	for other := range t.faults() {
		if o, _ := findFault(other); o.Group == k.Group && k.Group != "" {
			delete(t.faults(), other)
		}
	}
	t.faults()[k.Name] = a
}

func (c *Cloud) expireFault(t target, k *faultKind, a *activeFault) {
	c.mu.Lock()
	defer c.unlock()
	if t.faults()[k.Name] == a && !c.isClosed() {
		// On an error, for example if the port is in use, the fault stays active, and Clear may be called again.
		if err := c.clearFault(t, k); err != nil {
			c.emitFault(t, "%s could not be cleared: %v", k.Name, err)
		}
	}
}

func (c *Cloud) clearMatching(t target, chosen func(*faultKind) bool) error {
	for i := range catalogue {
		if k := &catalogue[i]; t.faults()[k.Name] != nil && chosen(k) {
			if err := c.clearFault(t, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Cloud) clearFault(t target, k *faultKind) error {
	a := t.faults()[k.Name]
	if k.onClear != nil {
		if err := k.onClear(t); err != nil {
			return err
		}
	}
	if a.undo != nil {
		a.undo()
	}
	delete(t.faults(), k.Name)
	a.stop()
	c.emitFault(t, "%s cleared", k.Name)
	if k.afterClear != nil {
		k.afterClear(t)
	}
	return nil
}

// targets returns all targets: DPS, the hubs and the devices, in order.
func (c *Cloud) targets() []target {
	all := []target{{kind: TargetDPS, name: TargetDPS, frontend: c.dps.frontend}}
	for _, h := range c.hubs {
		all = append(all, target{kind: TargetHub, name: h.name, frontend: h.frontend})
	}
	for _, id := range slices.Sorted(maps.Keys(c.devices)) {
		all = append(all, target{kind: TargetDevice, name: id, device: c.devices[id]})
	}
	return all
}

// emitFault emits an event about a fault at a target. The text begins with the target.
func (c *Cloud) emitFault(t target, format string, values ...any) {
	c.emit(KindLizard, t.hubName(), t.deviceID(), "%s: "+format, append([]any{t}, values...)...)
}

// hubName and deviceID return the hub and the device of the events about a target.
func (t target) hubName() string {
	if t.device != nil {
		return ""
	}
	return t.name
}

func (t target) deviceID() string {
	if t.device == nil {
		return ""
	}
	return t.name
}
