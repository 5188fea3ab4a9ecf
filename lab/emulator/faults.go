package emulator

import (
	"fmt"
	"slices"
)

// A Fault is a bad day by its name. The same names stand in docs/emulator.md, on command lines and in scenarios.
type Fault string

// What a fault may strike.
const (
	OnDPS    = "DPS"
	OnHub    = "hub"
	OnDevice = "device"
)

// A FaultInfo describes a fault.
type FaultInfo struct {
	Name       Fault
	Sentence   string   // what a device sees
	On         []string // OnDPS, OnHub, OnDevice
	Parameters []string // those it understands besides "for"; the names are ParameterNames
	Required   []string // those of them that must be given
	Group      string   // of those of one group only one is in force at a target, the last; "" is no group
}

// A Strike is a fault that is in force.
type Strike struct {
	Target string // as Strike takes it
	Fault  Fault
	Params Params
}

// Faults are all the faults there are, in the order of the document.
func Faults() []FaultInfo {
	infos := make([]FaultInfo, len(catalogue))
	for i, f := range catalogue {
		infos[i] = FaultInfo{f.Name, f.Sentence, slices.Clone(f.On), slices.Clone(f.Parameters), slices.Clone(f.Required), f.Group}
	}
	return infos
}

// A faultKind is a FaultInfo and how it is done.
type faultKind struct {
	FaultInfo
	begin  func(*Cloud, target, *affliction) error // called when it is in force already; an error takes it back
	end    func(target) error                      // called while it still is in force
	healed func(target)                            // called when it is no more
}

func findFault(name Fault) (*faultKind, error) {
	for i := range catalogue {
		if catalogue[i].Name == name {
			return &catalogue[i], nil
		}
	}
	return nil, fmt.Errorf("there is no fault %.60q", name)
}

// Strike lets a fault strike a target: "DPS", a hub by its name or a device by its ID. What strikes a hub strikes every device
// there. It is in force when Strike returns, until Heal or what the parameters say. A second strike replaces the first.
func (c *Cloud) Strike(targetName string, fault Fault, p Params) error {
	c.mu.Lock()
	defer c.unlock()
	t, err := c.target(targetName)
	if err == nil {
		err = c.strike(t, fault, p)
	}
	return named(err, "strike %s with %s", targetName, fault)
}

// Heal ends a fault at a target, or every fault there if it is "". Healing what is well does nothing.
func (c *Cloud) Heal(targetName string, fault Fault) error {
	c.mu.Lock()
	defer c.unlock()
	t, err := c.target(targetName)
	if err == nil && fault != "" {
		_, err = findFault(fault)
	}
	if err == nil {
		err = c.healAny(t, func(k *faultKind) bool { return fault == "" || k.Name == fault })
	}
	if fault == "" {
		return named(err, "heal %s", targetName)
	}
	return named(err, "heal %s of %s", targetName, fault)
}

// Struck are the faults in force, those of DPS first, then those of the hubs and of the devices.
func (c *Cloud) Struck() []Strike {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Strike
	for _, t := range c.targets() {
		for _, f := range catalogue {
			if a := t.faults()[f.Name]; a != nil {
				all = append(all, Strike{c.reference(t), f.Name, a.Params})
			}
		}
	}
	return all
}
