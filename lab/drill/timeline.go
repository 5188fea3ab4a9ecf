package drill

import (
	"encoding/json"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A Timeline is the course of a scenario.
type Timeline []Moment

// A Moment is something that happened. Its times are in seconds since the start of the scenario.
// Who is "lizard" for an act, "client" or "outage".
type Moment struct {
	At    float64 `json:"at"`
	Until float64 `json:"until,omitempty"`
	Who   string  `json:"who"`
	Where string  `json:"where,omitempty"` // a hub's name or "DPS"
	What  string  `json:"what"`
	Count int     `json:"count,omitempty"` // number of readings within a second
}

// timeline returns the timeline of the evidence, with one Moment for the readings of each second.
func (e *Evidence) timeline(outages []Outage) (t Timeline) {
	since := func(at time.Time) float64 { return round(at.Sub(e.Start).Seconds()) }
	for _, a := range e.Acts {
		t = append(t, Moment{At: since(a.At), Who: "lizard", What: a.Text})
	}
	for _, o := range outages {
		t = append(t, Moment{At: since(o.From), Until: since(o.To), Who: "outage", What: o.After})
	}
	for _, event := range e.Events {
		if event.Time.Before(e.Start) {
			continue
		}
		switch event.Kind {
		case emulator.KindConnected, emulator.KindRefused, emulator.KindDisconnected, emulator.KindRegister,
			emulator.KindViolation:
			t = append(t, Moment{At: since(event.Time), Who: "client", Where: event.Hub, What: string(event.Kind)})
		}
	}
	for _, d := range e.Deliveries {
		if d.Received.Before(e.Start) {
			continue
		}
		second := float64(int(d.Received.Sub(e.Start).Seconds()))
		if last := len(t) - 1; last >= 0 && t[last].Count > 0 && t[last].At == second && t[last].Where == d.Hub {
			t[last].Count++
			continue
		}
		t = append(t, Moment{At: second, Who: "client", Where: d.Hub, What: "readings", Count: 1})
	}
	return t
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
