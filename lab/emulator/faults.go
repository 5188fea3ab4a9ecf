package emulator

import (
	"fmt"
	"slices"
)

// A Fault is the name of a fault, as in docs/emulator.md, on command lines and in scenarios.
type Fault string

// The kinds of targets that a fault can be injected into.
const (
	TargetDPS    = "DPS"
	TargetHub    = "hub"
	TargetDevice = "device"
)

// A FaultInfo describes a fault.
type FaultInfo struct {
	Name        Fault
	Description string   // the effect of the fault, in plain text
	Targets     []string // the kinds of targets that it can be injected into
	Parameters  []string // the names of its parameters, besides "for"
	Required    []string // the parameters that must be given
	Group       string   // at one target, a new fault replaces an active one of its group; "" means no group
}

// An Injection is a fault at a target, with its parameters.
type Injection struct {
	Target string // the target's name, as Inject accepts it
	Fault  Fault
	Params Params
}

// Faults returns all faults, in the order of docs/emulator.md.
func Faults() []FaultInfo {
	infos := make([]FaultInfo, len(catalogue))
	for i, f := range catalogue {
		infos[i] = f.FaultInfo
		infos[i].Targets = slices.Clone(f.Targets)
		infos[i].Parameters = slices.Clone(f.Parameters)
		infos[i].Required = slices.Clone(f.Required)
	}
	return infos
}

// A faultKind is a FaultInfo with its implementation.
type faultKind struct {
	FaultInfo
	onInject   func(*Cloud, target, *activeFault) error // called after activation; an error reverts it
	onClear    func(target) error                       // called before deactivation
	afterClear func(target)                             // called after deactivation
}

func findFault(name Fault) (*faultKind, error) {
	for i := range catalogue {
		if catalogue[i].Name == name {
			return &catalogue[i], nil
		}
	}
	return nil, fmt.Errorf("there is no fault %.60q", name)
}

// Inject injects a fault into a target: "DPS", the name of a hub, or the ID of a device. A fault at
// a hub affects every device there. The fault is active when Inject returns. It stays active until
// Clear, or until the parameters end it. Injecting an active fault again replaces its parameters.
func (c *Cloud) Inject(targetName string, fault Fault, p Params) error {
	c.mu.Lock()
	defer c.unlock()
	t, err := c.target(targetName)
	if err == nil {
		err = c.inject(t, fault, p)
	}
	return named(err, "inject %s into %s", fault, targetName)
}

// Clear ends a fault at a target. The empty fault means all faults there. Clear does nothing if the
// fault is not active.
func (c *Cloud) Clear(targetName string, fault Fault) error {
	c.mu.Lock()
	defer c.unlock()
	t, err := c.target(targetName)
	if err == nil && fault != "" {
		_, err = findFault(fault)
	}
	if err == nil {
		err = c.clearMatching(t, func(k *faultKind) bool { return fault == "" || k.Name == fault })
	}
	if fault == "" {
		return named(err, "clear %s", targetName)
	}
	return named(err, "clear %s at %s", fault, targetName)
}

// ActiveFaults returns the active faults: first those of DPS, then those of the hubs, then those of
// the devices.
func (c *Cloud) ActiveFaults() []Injection {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Injection
	for _, t := range c.targets() {
		for _, f := range catalogue {
			if a := t.faults()[f.Name]; a != nil {
				all = append(all, Injection{c.reference(t), f.Name, a.Params})
			}
		}
	}
	return all
}
