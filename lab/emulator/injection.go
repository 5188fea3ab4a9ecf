package emulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// This file is called with the cloud's lock held.

// A target is what was struck: an endpoint, which has a door, or a device.
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

// target reads "DPS", the name of a hub or the ID of a device, in this order; "device/" before an ID makes it one.
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
	return target{}, fmt.Errorf("%w: %.128q, which is neither DPS nor one of the hubs %s", ErrUnknownDevice, name, strings.Join(c.config.Hubs, ", "))
}

// reference is what target reads as t.
func (c *Cloud) reference(t target) string {
	if other, err := c.target(t.name); err == nil && other.kind != t.kind {
		return TargetDevice + "/" + t.name
	}
	return t.name
}

// afflictions are the faults in force at one target. They are guarded by the cloud's lock.
type faultSet map[Fault]*activeFault

type activeFault struct {
	Params
	target    target
	remaining int // of Count
	timer     *time.Timer
	undo      func() // what begin left to be undone, also by the next strike with the same fault
}

func (a *activeFault) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// delay is none without a fault.
func (a *activeFault) delay() time.Duration {
	if a == nil {
		return 0
	}
	return a.Delay
}

// hit tells whether a fault strikes this time, and counts it. The first target that has it decides.
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
				c.emit(KindLizard, a.target.hubName(), a.target.deviceID(), "%s healed: %s has struck for the last time", a.target, fault)
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
	c.emit(KindLizard, t.hubName(), t.deviceID(), "%s struck: %s%s", t, fault, p)
	if k.onInject != nil {
		if err := k.onInject(c, t, a); err != nil {
			clear(t.faults())
			maps.Copy(t.faults(), prior)
			c.emit(KindLizard, t.hubName(), t.deviceID(), "%s was not struck: %v", t, err)
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

// replace puts a fault in force in place of those of its group.
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
		if err := c.clearFault(t, k); err != nil { // the port is taken, at worst; it stays struck, and Heal may try again
			c.emit(KindLizard, t.hubName(), t.deviceID(), "%s could not be healed of %s: %v", t, k.Name, err)
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
	c.emit(KindLizard, t.hubName(), t.deviceID(), "%s healed: %s", t, k.Name)
	if k.afterClear != nil {
		k.afterClear(t)
	}
	return nil
}

// targets are all there are, in order.
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

// where and who are an event's hub and device.
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
