package drill

import (
	"time"

	"giantlizard.example/failover/lab/scenario"
)

// An Outage is a time without readings: one that began when the client's way into the cloud opened, or else one that is longer
// than the pauses that the client's interval explains.
type Outage struct {
	From, To time.Time // To is when the client was stopped if it never ended
	Endless  bool
	After    string // what had been done to the cloud
}

func (o Outage) lasted() time.Duration { return o.To.Sub(o.From) }

// quiet is the longest time between readings that is no outage.
func (e *Evidence) quiet() time.Duration { return max(2*time.Second, 3*e.Interval) }

// outages are all of them, in order. While the client has no way into the cloud there is none: nobody can recover then.
func (e *Evidence) outages() (all []Outage) {
	from, after, opened, shut := e.Start, "the start", true, false
	until := func(to time.Time) Outage { return Outage{From: from, To: to, After: after} }
	acts := e.Acts
	for i := 0; i <= len(e.Deliveries); i++ {
		next := e.Stopped
		if i < len(e.Deliveries) {
			next = e.Deliveries[i].Received
		}
		for ; len(acts) > 0 && !acts[0].At.After(next); acts = acts[1:] {
			if o := until(acts[0].At); acts[0].Way != scenario.Unchanged && !opened && !shut && o.lasted() > e.quiet() {
				all = append(all, o) // what is done now is no excuse for the time before
			}
			switch acts[0].Way {
			case scenario.Opens:
				if shut || !opened { // or it has not recovered since it last opened
					from, after = acts[0].At, acts[0].Text
				}
				opened, shut = true, false
			case scenario.Shuts:
				shut = true
			}
			if !opened {
				after = acts[0].Text
			}
		}
		o := until(next)
		o.Endless = i == len(e.Deliveries)
		if !shut && (opened && !o.Endless || o.lasted() > e.quiet()) && next.After(e.Start) {
			all = append(all, o)
		}
		from, after, opened = later(e.Start, next), "nothing that was done to it", false
	}
	return all
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// busiest is the largest number of moments within any span.
func busiest(moments []time.Time, span time.Duration) (most int) {
	from := 0
	for i, at := range moments {
		for at.Sub(moments[from]) >= span {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}
