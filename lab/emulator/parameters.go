package emulator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Params are the parameters of a fault.
type Params struct {
	For         time.Duration // time after which the fault is cleared; zero means never
	Count       int           // number of times that the fault applies before it is cleared; zero means no limit
	Probability float64       // probability that the fault applies, each time; zero means 1
	Delay       time.Duration // a delay whose meaning depends on the fault
	Jitter      time.Duration // the largest random addition to Delay
	Rate        int           // bytes per second; zero means no limit
	RetryAfter  time.Duration // retry-after of the answer; zero means that the answer has none
	Status      int           // status of the answer; zero means the default of the fault
	Mark        string        // text that a message must contain
	Hub         string        // name of a hub
	Reregister  bool          // DPS registers the device again, which clears the fault
}

// ParameterNames returns the names of all parameters, as in Set.
func ParameterNames() []string {
	names := make([]string, len(faultParameters))
	for i, p := range faultParameters {
		names[i] = p.name
	}
	return names
}

// faultParameters describe the fields of Params. The function value returns "" for the zero value.
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
	name   string
	format string // description of valid values, for errors
	set    func(*Params, string) error
	value  func(Params) string
	count  bool // the value is a duration or a number, and must not be negative
}

func durationParameter(name string, field func(*Params) *time.Duration) faultParameter {
	return faultParameter{name, "a duration such as 30s", func(p *Params, text string) (err error) {
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
	return faultParameter{name, "text", func(p *Params, text string) error {
		*field(p) = text
		return nil
	}, func(p Params) string { return *field(&p) }, false}
}

// Set sets a parameter by its name. Durations are written as "1m30s". Set refuses zero values, such
// as "0s", because they would mean that the parameter is not set.
func (p *Params) Set(name, value string) error {
	for _, known := range faultParameters {
		if known.name != name {
			continue
		}
		if err := known.set(p, value); err != nil {
			return fmt.Errorf("emulator: parameter %s: %.60q is not %s", name, value, known.format)
		}
		if name != "anew" && known.value(*p) == "" {
			return fmt.Errorf("emulator: parameter %s: %.60q means the default; leave the parameter out, or give %s",
				name, value, known.format)
		}
		return nil
	}
	return fmt.Errorf("emulator: there is no parameter %.60q; there are %s", name, strings.Join(ParameterNames(), ", "))
}

// Given returns the parameters that are set, as name and value for Set.
func (p Params) Given() map[string]string {
	given := map[string]string{}
	for _, known := range faultParameters {
		if value := known.value(p); value != "" {
			given[known.name] = value
		}
	}
	return given
}

// String returns the parameters that are set, as in " delay=1s count=3".
func (p Params) String() string {
	var text strings.Builder
	for _, known := range faultParameters {
		if value := known.value(p); value != "" {
			text.WriteString(" " + known.name + "=" + value)
		}
	}
	return text.String()
}

// Check returns an error if the fault cannot be injected into a target of this kind (TargetDPS,
// TargetHub or TargetDevice) with these parameters.
func (f FaultInfo) Check(kind string, p Params) error {
	if !slices.Contains(f.Targets, kind) {
		return fmt.Errorf("the fault can be injected into %s, not into %s", strings.Join(f.Targets, " or "), kind)
	}
	for _, known := range faultParameters {
		given := known.value(p) != ""
		switch {
		case given && known.name != "for" && !slices.Contains(f.Parameters, known.name):
			return fmt.Errorf("the fault has no parameter %s", known.name)
		case !given && slices.Contains(f.Required, known.name):
			return fmt.Errorf("the fault needs the parameter %s", known.name)
		case known.count && strings.HasPrefix(known.value(p), "-") && !(known.name == "delay" && f.Name == Skew):
			return fmt.Errorf("the parameter %s is negative", known.name)
		}
	}
	switch {
	case p.Status != 0 && (p.Status < 400 || p.Status > 599):
		return fmt.Errorf("the status %d is not between 400 and 599", p.Status)
	case !(p.Probability >= 0 && p.Probability <= 1):
		return fmt.Errorf("the probability %v is not between 0 and 1", p.Probability)
	}
	return nil
}
