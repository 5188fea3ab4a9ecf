package drill

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A Timeline is the course of a scenario.
type Timeline []Moment

// A Moment is something that happened, once or repeatedly. Its times are in seconds since the start of
// the scenario. Who is "lizard" for an act, "client" or "outage".
type Moment struct {
	At    float64 `json:"at"`
	Until float64 `json:"until,omitempty"` // zero means that it happened at one moment, or readings within a second
	Who   string  `json:"who"`
	Where string  `json:"where,omitempty"` // a hub's name or "DPS"
	What  string  `json:"what"`
	Why   string  `json:"why,omitempty"`   // the reason of a refusal, or the broken rule; of repetitions, the first
	Count int     `json:"count,omitempty"` // number of readings, or of repetitions; zero means that it happened once
}

const readings = "readings" // What of a Moment of readings

// String returns the moment in words, without Where.
func (m Moment) String() string {
	when, what := fmt.Sprintf("%g s: ", m.At), m.What
	if m.Until > 0 {
		when = fmt.Sprintf("%g s to %g s: ", m.At, m.Until)
	}
	switch {
	case m.Who == "outage":
		what = "no readings, after " + m.What
	case m.What == readings:
		what = counted(m.Count, "reading")
	case m.Count > 0:
		what += fmt.Sprintf(", %d times", m.Count)
	}
	if m.Why != "" {
		what += ": " + m.Why
	}
	return when + what
}

// timeline returns the timeline of the evidence.
func (e *Evidence) timeline(outages []Outage) (t Timeline) {
	for _, a := range e.Acts {
		t = append(t, Moment{At: e.since(a.At), Who: "lizard", What: a.Text})
	}
	for _, o := range outages {
		t = append(t, Moment{At: e.since(o.From), Until: e.since(o.To), Who: "outage", What: o.After})
	}
	why := reasons(e.Events)
	for i, event := range e.Events {
		if event.Time.Before(e.Start) {
			continue
		}
		switch event.Kind {
		case emulator.KindConnected, emulator.KindRefused, emulator.KindDisconnected, emulator.KindRegister,
			emulator.KindViolation:
			t = append(t, Moment{At: e.since(event.Time), Who: "client", Where: event.Hub, What: string(event.Kind),
				Why: why[i]})
		}
	}
	if !e.Ended.IsZero() {
		t = append(t, Moment{At: e.since(e.Ended), Who: "client", What: "ended"})
	}
	return append(t.folded(), e.readings()...)
}

// since returns the seconds since the start of the scenario.
func (e *Evidence) since(at time.Time) float64 { return round(at.Sub(e.Start).Seconds()) }

// maxBins is about the largest number of moments for the readings of a hub.
const maxBins = 600

// readings returns a Moment for the readings of each second at each hub, or of several seconds in a long scenario.
func (e *Evidence) readings() (t Timeline) {
	type bin struct {
		hub string
		at  float64
	}
	index, width := map[bin]int{}, max(1, math.Ceil(e.since(e.Stopped)/maxBins))
	for _, d := range e.Deliveries {
		if d.Received.Before(e.Start) {
			continue
		}
		b := bin{d.Hub, math.Floor(d.Received.Sub(e.Start).Seconds()/width) * width}
		if _, ok := index[b]; !ok {
			index[b] = len(t)
			t = append(t, Moment{At: b.at, Who: "client", Where: d.Hub, What: readings})
			if width > 1 {
				t[index[b]].Until = b.at + width
			}
		}
		t[index[b]].Count++
	}
	return t
}

// Repetitions that are folded.
const (
	fewestFolded = 4   // as many moments of the same kind are needed
	longestGap   = 5.0 // seconds between two moments, in a short scenario
	gapShare     = 40  // in a long scenario, this part of it
)

// folded returns the timeline with one moment for many of the same kind that follow each other closely. What happens
// elsewhere in between does not matter, because a client that reconnects all the time also asks DPS all the time.
func (t Timeline) folded() (short Timeline) {
	type kind struct{ who, where, what, why string }
	type run struct{ first, last, count int }
	gap := max(longestGap, t.end()/gapShare)
	runs, current := make([]*run, len(t)), map[kind]*run{}
	for i, m := range t {
		if m.Who == "outage" {
			continue
		}
		k := kind{m.Who, m.Where, m.What, withoutDetails(m.Why)}
		r := current[k]
		if r == nil || m.At-t[r.last].At > gap {
			r = &run{first: i}
			current[k] = r
		}
		r.last, r.count, runs[i] = i, r.count+1, r
	}
	for i, m := range t {
		r := runs[i]
		if r != nil && r.count >= fewestFolded {
			if i != r.first {
				continue
			}
			m.Until, m.Count = t[r.last].At, r.count
		}
		short = append(short, m)
	}
	return short
}

// MarshalJSON encodes the durations of an outage in seconds.
func (o Outage) MarshalJSON() ([]byte, error) {
	fields := map[string]any{
		"after": o.After, "seconds": round(o.duration().Seconds()), "endless": o.Endless,
		"attempts": o.Parts.Attempts, "registering": round(o.Parts.Registering.Seconds()),
	}
	if o.Parts.First >= 0 {
		fields["first_attempt"] = round(o.Parts.First.Seconds())
	}
	if len(o.Parts.Never) > 0 {
		fields["never"] = o.Parts.Never
	}
	return json.Marshal(fields)
}
