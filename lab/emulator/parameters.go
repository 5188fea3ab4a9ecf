package emulator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Params say how a fault strikes. The zero value of each means what is written behind it.
type Params struct {
	For         time.Duration // until it heals by itself: never
	Count       int           // how often it strikes: without end
	Probability float64       // each time: 1
	Delay       time.Duration
	Jitter      time.Duration // at most so much more delay, at random
	Rate        int           // bytes a second: any
	RetryAfter  time.Duration // what the answer tells: nothing
	Status      int           // of the answer: the fault's own
	Mark        string
	Hub         string
	Reregister  bool // DPS registers the device anew, which ends the fault
}

// ParameterNames are the names of the parameters, as Set takes them.
func ParameterNames() []string {
	names := make([]string, len(faultParameters))
	for i, p := range faultParameters {
		names[i] = p.name
	}
	return names
}

// faultParameters give each field of Params its name; value is "" for one that was not given.
var faultParameters = []faultParameter{
	durationParameter("for", func(p *Params) *time.Duration { return &p.For }),
	numberParameter("count", func(p *Params) *int { return &p.Count }),
	{"probability", "a number above 0, at most 1", func(p *Params, text string) (err error) {
		p.Probability, err = strconv.ParseFloat(text, 64)
		return err
	}, func(p Params) string {
		if p.Probability == 0 {
			return ""
		}
		return strconv.FormatFloat(p.Probability, 'g', -1, 64)
	}, false},
	durationParameter("delay", func(p *Params) *time.Duration { return &p.Delay }),
	durationParameter("jitter", func(p *Params) *time.Duration { return &p.Jitter }),
	numberParameter("rate", func(p *Params) *int { return &p.Rate }),
	durationParameter("retry-after", func(p *Params) *time.Duration { return &p.RetryAfter }),
	numberParameter("status", func(p *Params) *int { return &p.Status }),
	textParameter("mark", func(p *Params) *string { return &p.Mark }),
	textParameter("hub", func(p *Params) *string { return &p.Hub }),
	{"anew", "true or false", func(p *Params, text string) (err error) {
		p.Reregister, err = strconv.ParseBool(text)
		return err
	}, func(p Params) string {
		if !p.Reregister {
			return ""
		}
		return "true"
	}, false},
}

type faultParameter struct {
	name  string
	takes string // what a value is
	set   func(*Params, string) error
	value func(Params) string
	count bool // a time or a number, which is not negative
}

func durationParameter(name string, field func(*Params) *time.Duration) faultParameter {
	return faultParameter{name, "a time such as 30s", func(p *Params, text string) (err error) {
		*field(p), err = time.ParseDuration(text)
		return err
	}, func(p Params) string {
		if *field(&p) == 0 {
			return ""
		}
		return field(&p).String()
	}, true}
}

func numberParameter(name string, field func(*Params) *int) faultParameter {
	return faultParameter{name, "a whole number such as 503", func(p *Params, text string) (err error) {
		*field(p), err = strconv.Atoi(text)
		return err
	}, func(p Params) string {
		if *field(&p) == 0 {
			return ""
		}
		return strconv.Itoa(*field(&p))
	}, true}
}

func textParameter(name string, field func(*Params) *string) faultParameter {
	return faultParameter{name, "a text", func(p *Params, text string) error {
		*field(p) = text
		return nil
	}, func(p Params) string { return *field(&p) }, false}
}

// Set gives a parameter by its name: durations as "1m30s", numbers and the rest as Go writes them. What would count as not given,
// such as "0s", is refused.
func (p *Params) Set(name, value string) error {
	for _, known := range faultParameters {
		if known.name != name {
			continue
		}
		if err := known.set(p, value); err != nil {
			return fmt.Errorf("emulator: parameter %s: %.60q is not %s", name, value, known.takes)
		}
		if name != "anew" && known.value(*p) == "" {
			return fmt.Errorf("emulator: parameter %s: %.60q would be as if it were not given; leave it out, or give %s", name, value, known.takes)
		}
		return nil
	}
	return fmt.Errorf("emulator: there is no parameter %.60q; there are %s", name, strings.Join(ParameterNames(), ", "))
}

// Given are the parameters that were given, by their names, as Set takes them.
func (p Params) Given() map[string]string {
	given := map[string]string{}
	for _, known := range faultParameters {
		if value := known.value(p); value != "" {
			given[known.name] = value
		}
	}
	return given
}

// String is what was given: " delay=1s count=3".
func (p Params) String() string {
	var text strings.Builder
	for _, known := range faultParameters {
		if value := known.value(p); value != "" {
			text.WriteString(" " + known.name + "=" + value)
		}
	}
	return text.String()
}

// Check tells why a fault does not strike such a target (TargetDPS, TargetHub, TargetDevice) with these parameters.
func (f FaultInfo) Check(kind string, p Params) error {
	if !slices.Contains(f.Targets, kind) {
		return fmt.Errorf("it strikes %s, and not %s", strings.Join(f.Targets, " or "), kind)
	}
	for _, known := range faultParameters {
		given := known.value(p) != ""
		switch {
		case given && known.name != "for" && !slices.Contains(f.Parameters, known.name):
			return fmt.Errorf("it has no parameter %s", known.name)
		case !given && slices.Contains(f.Required, known.name):
			return fmt.Errorf("it needs the parameter %s", known.name)
		case known.count && strings.HasPrefix(known.value(p), "-") && !(known.name == "delay" && f.Name == Skew):
			return fmt.Errorf("the parameter %s is negative", known.name)
		}
	}
	switch {
	case p.Status != 0 && (p.Status < 400 || p.Status > 599):
		return fmt.Errorf("the status %d is no error's", p.Status)
	case !(p.Probability >= 0 && p.Probability <= 1):
		return fmt.Errorf("the probability %v is not between 0 and 1", p.Probability)
	}
	return nil
}
