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
	door       *door
	device     *device
}

func (t target) faults() afflictions {
	if t.device != nil {
		return t.device.faults
	}
	return t.door.faults
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
			return target{kind: TargetDPS, name: name, door: c.dps.door}, nil
		}
		if h, err := c.hub(name); err == nil {
			return target{kind: TargetHub, name: name, door: h.door}, nil
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
type afflictions map[Fault]*affliction

type affliction struct {
	Params
	at    target
	left  int // of Count
	timer *time.Timer
	undo  func() // what begin left to be undone, also by the next strike with the same fault
}

func (a *affliction) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// delay is none without a fault.
func (a *affliction) delay() time.Duration {
	if a == nil {
		return 0
	}
	return a.Delay
}

// hit tells whether a fault strikes this time, and counts it. The first target that has it decides.
func (c *Cloud) hit(fault Fault, at ...afflictions) *affliction {
	for _, faults := range at {
		a := faults[fault]
		if a == nil {
			continue
		}
		if a.Probability > 0 && c.config.Rand.Float64() >= a.Probability {
			return nil
		}
		if a.left > 0 {
			if a.left--; a.left == 0 {
				a.stop()
				delete(faults, fault)
				c.tell(KindLizard, a.at.where(), a.at.who(), "%s healed: %s has struck for the last time", a.at, fault)
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

func (c *Cloud) strike(t target, fault Fault, p Params) error {
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
	a, prior := &affliction{Params: p, at: t, left: p.Count}, maps.Clone(t.faults())
	if old := prior[fault]; old != nil && old.undo != nil {
		old.undo()
	}
	t.replace(k, a)
	c.tell(KindLizard, t.where(), t.who(), "%s struck: %s%s", t, fault, p)
	if k.begin != nil {
		if err := k.begin(c, t, a); err != nil {
			clear(t.faults())
			maps.Copy(t.faults(), prior)
			c.tell(KindLizard, t.where(), t.who(), "%s was not struck: %v", t, err)
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
func (t target) replace(k *faultKind, a *affliction) {
	for other := range t.faults() {
		if o, _ := findFault(other); o.Group == k.Group && k.Group != "" {
			delete(t.faults(), other)
		}
	}
	t.faults()[k.Name] = a
}

func (c *Cloud) expireFault(t target, k *faultKind, a *affliction) {
	c.mu.Lock()
	defer c.unlock()
	if t.faults()[k.Name] == a && !c.isClosed() {
		if err := c.heal(t, k); err != nil { // the port is taken, at worst; it stays struck, and Heal may try again
			c.tell(KindLizard, t.where(), t.who(), "%s could not be healed of %s: %v", t, k.Name, err)
		}
	}
}

func (c *Cloud) healAny(t target, chosen func(*faultKind) bool) error {
	for i := range catalogue {
		if k := &catalogue[i]; t.faults()[k.Name] != nil && chosen(k) {
			if err := c.heal(t, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Cloud) heal(t target, k *faultKind) error {
	a := t.faults()[k.Name]
	if k.end != nil {
		if err := k.end(t); err != nil {
			return err
		}
	}
	if a.undo != nil {
		a.undo()
	}
	delete(t.faults(), k.Name)
	a.stop()
	c.tell(KindLizard, t.where(), t.who(), "%s healed: %s", t, k.Name)
	if k.healed != nil {
		k.healed(t)
	}
	return nil
}

// targets are all there are, in order.
func (c *Cloud) targets() []target {
	all := []target{{kind: TargetDPS, name: TargetDPS, door: c.dps.door}}
	for _, h := range c.hubs {
		all = append(all, target{kind: TargetHub, name: h.name, door: h.door})
	}
	for _, id := range slices.Sorted(maps.Keys(c.devices)) {
		all = append(all, target{kind: TargetDevice, name: id, device: c.devices[id]})
	}
	return all
}

// where and who are an event's hub and device.
func (t target) where() string {
	if t.device != nil {
		return ""
	}
	return t.name
}

func (t target) who() string {
	if t.device == nil {
		return ""
	}
	return t.name
}
