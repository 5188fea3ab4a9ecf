package scenario

import (
	"slices"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

// A Verb says what an Act does.
type Verb string

// The verbs. The first three change the cloud. The others address the device, as a back end does.
const (
	Inject  Verb = "strike" // or "kill", for the faults of emulator.GroupDown
	Clear   Verb = "heal"
	Move    Verb = "move"
	Desired Verb = "desired"
	Method  Verb = "method"
	Command Verb = "command"
)

// changesCloud reports whether the verb changes the cloud.
func (v Verb) changesCloud() bool { return v == Inject || v == Clear || v == Move }

// The targets of faults besides the hubs.
const (
	DPS    = emulator.TargetDPS
	Device = "device" // the device under test
)

var (
	hubs    = []string{"A", "B"}
	targets = append(append([]string{DPS}, hubs...), Device)
	catalog = emulator.Faults()
)

// An Act is what a step does.
type Act struct {
	Verb    Verb
	Target  string         // DPS, a hub or Device; for Move, the new hub
	Fault   emulator.Fault // for Inject, and for Clear, where "" means all faults
	Params  emulator.Params
	Name    string // name of a method or a command
	Payload string // JSON, or ""
	params  []parameter
}

// A parameter is a parameter of a fault, as it is written in the text.
type parameter struct{ name, value string }

func (p *phrase) act() (a Act) {
	switch verb := p.oneOf("kill", "strike", "heal", "move", "desired", "method", "command"); verb {
	case "kill", "strike":
		a.Verb, a.Target = Inject, p.oneOf(targets...)
		a.Fault = p.fault(verb, a.Target)
		p.parameters(&a)
	case "heal":
		a.Verb, a.Target = Clear, p.oneOf(targets...)
		if p.peek().text != "" {
			a.Fault = emulator.Fault(p.oneOf(faultsOn(a.Target, "")...))
		}
	case "move":
		a.Verb, a.Target = Move, p.oneOf(hubs...)
	case "desired":
		a.Verb = Desired
		if !strings.HasPrefix(p.peek().text, "{") {
			p.refuse(`a JSON object such as {"fanSpeed":3}`)
		}
		if err := emulator.CheckJSON([]byte(p.peek().text)); p.err == nil && err != nil {
			p.fail("a twin would change this value: %w", err)
		}
		a.Payload = p.next()
	case "method", "command":
		a.Verb, a.Name = Verb(verb), p.name(verb)
		a.Payload = p.json()
	}
	return a
}

// fault reads the name of a fault. Without a name, kill means FIN.
func (p *phrase) fault(verb, target string) emulator.Fault {
	if verb == "strike" {
		return emulator.Fault(p.oneOf(faultsOn(target, "")...))
	}
	if w := p.peek(); w.text == "" || w.text == "for" || w.name != "" {
		return emulator.FIN
	}
	return emulator.Fault(p.oneOf(faultsOn(target, emulator.GroupDown)...))
}

// examples has a valid value for each parameter of the faults.
var examples = map[string]string{
	"count": "3", "probability": "0.5", "delay": "2s", "jitter": "500ms", "rate": "4000", "retry-after": "5s",
	"status": "503", "mark": "poison", "hub": "B", "anew": "true",
}

// parameters reads `for DURATION` and each name=value, in any order.
func (p *phrase) parameters(a *Act) {
	f := infoOf(a.Fault)
	allowed := []string{"for 30s"}
	for _, name := range f.Parameters {
		allowed = append(allowed, name+"="+examples[name])
	}
	for p.err == nil && len(p.words) > 0 {
		w := p.peek()
		isRepeated := slices.ContainsFunc(a.params, func(other parameter) bool { return other.name == w.name })
		switch {
		case w.text == "for" && a.Params.For == 0:
			p.next()
			a.Params.For = p.duration()
		case w.name == "for" && a.Params.For == 0:
			p.words[0].text = w.data
			a.Params.For = p.duration()
		case w.data == "" || isRepeated || !slices.Contains(f.Parameters, w.name):
			p.refuse(allowed...)
		default:
			if err := a.Params.Set(w.name, w.data); err != nil {
				p.refuse("a value such as " + w.name + "=" + examples[w.name])
			}
			a.params = append(a.params, parameter{w.name, w.data})
			p.next()
		}
	}
	if p.err == nil {
		if err := f.Check(kindOf(a.Target), a.Params); err != nil {
			p.fail("%s: %w", a.Fault, err)
		}
	}
}

// faultsOn returns the names of the faults that a target can have: those of a group, or all if
// group is "".
func faultsOn(target, group string) (names []string) {
	for _, f := range catalog {
		if slices.Contains(f.Targets, kindOf(target)) && (group == "" || f.Group == group) {
			names = append(names, string(f.Name))
		}
	}
	return names
}

// kindOf returns the kind of a target, as emulator.FaultInfo names it.
func kindOf(target string) string {
	switch target {
	case DPS:
		return emulator.TargetDPS
	case Device:
		return emulator.TargetDevice
	}
	return emulator.TargetHub
}

// infoOf returns the emulator's description of a fault.
func infoOf(name emulator.Fault) emulator.FaultInfo {
	i := slices.IndexFunc(catalog, func(f emulator.FaultInfo) bool { return f.Name == name })
	if i < 0 {
		return emulator.FaultInfo{}
	}
	return catalog[i]
}

// String returns the act as it is written in a scenario.
func (a Act) String() string {
	text := string(a.Verb)
	if a.Verb == Inject && infoOf(a.Fault).Group == emulator.GroupDown {
		text = "kill"
	}
	for _, part := range []string{a.Target, string(a.Fault), a.Name, a.duration()} {
		if part != "" {
			text += " " + part
		}
	}
	for _, p := range a.params {
		text += " " + p.name + "=" + quoteIfNeeded(p.value)
	}
	if a.Payload != "" {
		text += " " + a.Payload
	}
	return text
}

func (a Act) duration() string {
	if a.Params.For == 0 {
		return ""
	}
	return "for " + formatDuration(a.Params.For)
}
