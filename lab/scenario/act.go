package scenario

import (
	"slices"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

// A Verb is what is done.
type Verb string

// The verbs. The first three are the lizard's and the operator's, the others the back end's.
const (
	Strike  Verb = "strike" // `kill` is one
	Heal    Verb = "heal"
	Move    Verb = "move"
	Desired Verb = "desired"
	Method  Verb = "method"
	Command Verb = "command"
)

func (v Verb) ofLizard() bool { return v == Strike || v == Heal || v == Move }

// The targets of faults besides the hubs.
const (
	DPS    = emulator.TargetDPS
	Device = "device" // the one that the scenario is about
)

var (
	hubs    = []string{"A", "B"}
	targets = append(append([]string{DPS}, hubs...), Device)
	catalog = emulator.Faults()
)

// An Act is what a step does.
type Act struct {
	Verb    Verb
	Target  string         // DPS, a hub or Device; of Move the hub
	Fault   emulator.Fault // of Strike; of Heal "" for all
	Params  emulator.Params
	Name    string // of a method or a command
	Payload string // JSON, or ""
	given   []parameter
}

// A parameter is one as it was written.
type parameter struct{ name, value string }

func (p *phrase) act() (a Act) {
	switch verb := p.choose("kill", "strike", "heal", "move", "desired", "method", "command"); verb {
	case "kill", "strike":
		a.Verb, a.Target = Strike, p.choose(targets...)
		a.Fault = p.fault(verb, a.Target)
		p.parameters(&a)
	case "heal":
		a.Verb, a.Target = Heal, p.choose(targets...)
		if p.peek().text != "" {
			a.Fault = emulator.Fault(p.choose(faultsOn(a.Target, "")...))
		}
	case "move":
		a.Verb, a.Target = Move, p.choose(hubs...)
	case "desired":
		a.Verb = Desired
		if !strings.HasPrefix(p.peek().text, "{") {
			p.refuse(`a JSON object such as {"fanSpeed":3}`)
		}
		if err := emulator.CheckJSON([]byte(p.peek().text)); p.err == nil && err != nil {
			p.fail("no twin would keep this as it is: %w", err)
		}
		a.Payload = p.take()
	case "method", "command":
		a.Verb, a.Name = Verb(verb), p.name(verb)
		a.Payload = p.json()
	}
	return a
}

// fault reads which it is. A kill needs none said.
func (p *phrase) fault(verb, target string) emulator.Fault {
	if verb == "strike" {
		return emulator.Fault(p.choose(faultsOn(target, "")...))
	}
	if w := p.peek(); w.text == "" || w.text == "for" || w.name != "" {
		return emulator.FIN
	}
	return emulator.Fault(p.choose(faultsOn(target, emulator.GroupDown)...))
}

// examples are values that the faults' parameters take.
var examples = map[string]string{
	"count": "3", "probability": "0.5", "delay": "2s", "jitter": "500ms", "rate": "4000", "retry-after": "5s", "status": "503",
	"mark": "poison", "hub": "B", "anew": "true",
}

// parameters reads `for DURATION` and each name=value, in any order.
func (p *phrase) parameters(a *Act) {
	f := known(a.Fault)
	allowed := []string{"for 30s"}
	for _, name := range f.Parameters {
		allowed = append(allowed, name+"="+examples[name])
	}
	for p.err == nil && len(p.words) > 0 {
		w := p.peek()
		again := slices.ContainsFunc(a.given, func(other parameter) bool { return other.name == w.name })
		switch {
		case w.text == "for" && a.Params.For == 0:
			p.take()
			a.Params.For = p.duration()
		case w.name == "for" && a.Params.For == 0:
			p.words[0].text = w.data
			a.Params.For = p.duration()
		case w.data == "" || again || !slices.Contains(f.Parameters, w.name):
			p.refuse(allowed...)
		default:
			if err := a.Params.Set(w.name, w.data); err != nil {
				p.refuse("a value such as " + w.name + "=" + examples[w.name])
			}
			a.given = append(a.given, parameter{w.name, w.data})
			p.take()
		}
	}
	if p.err == nil {
		if err := f.Check(kindOf(a.Target), a.Params); err != nil {
			p.fail("%s: %w", a.Fault, err)
		}
	}
}

// faultsOn are the names of the faults that strike a target; of one group, or of all.
func faultsOn(target, group string) (names []string) {
	for _, f := range catalog {
		if slices.Contains(f.Targets, kindOf(target)) && (group == "" || f.Group == group) {
			names = append(names, string(f.Name))
		}
	}
	return names
}

func kindOf(target string) string {
	switch target {
	case DPS:
		return emulator.TargetDPS
	case Device:
		return emulator.TargetDevice
	}
	return emulator.TargetHub
}

// known is what the emulator says of a fault.
func known(name emulator.Fault) emulator.FaultInfo {
	i := slices.IndexFunc(catalog, func(f emulator.FaultInfo) bool { return f.Name == name })
	if i < 0 {
		return emulator.FaultInfo{}
	}
	return catalog[i]
}

// String is the act as a scenario has it.
func (a Act) String() string {
	text := string(a.Verb)
	if a.Verb == Strike && known(a.Fault).Group == emulator.GroupDown {
		text = "kill"
	}
	for _, part := range []string{a.Target, string(a.Fault), a.Name, a.lasting()} {
		if part != "" {
			text += " " + part
		}
	}
	for _, p := range a.given {
		text += " " + p.name + "=" + written(p.value)
	}
	if a.Payload != "" {
		text += " " + a.Payload
	}
	return text
}

func (a Act) lasting() string {
	if a.Params.For == 0 {
		return ""
	}
	return "for " + short(a.Params.For)
}
