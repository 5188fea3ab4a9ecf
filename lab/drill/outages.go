package drill

import (
	"time"

	"giantlizard.example/failover/lab/scenario"
)

// An Outage is a period in which the cloud receives no readings although the client has a way into
// the cloud. A period is an outage if it begins when that way opens, or if it is longer than
// longestPause.
type Outage struct {
	From, To time.Time // To is the end of the trial if Endless is true
	Endless  bool
	After    string // description of the last act before the outage
	Parts    Parts
}

func (o Outage) duration() time.Duration { return o.To.Sub(o.From) }

// longestPause returns the longest time between readings that is not an outage.
func (e *Evidence) longestPause() time.Duration { return max(2*time.Second, 3*e.Interval) }

// withParts returns the outages in order, with their parts.
func (e *Evidence) withParts() []Outage {
	all := e.outages()
	for i := range all {
		all[i].Parts = e.parts(all[i])
	}
	return all
}

// outages returns the outages in order, without their parts. While the client has no way into the cloud there is no
// outage, because the client cannot recover then.
func (e *Evidence) outages() (all []Outage) {
	from, after, opened, shut := e.Start, "the start", true, false
	until := func(to time.Time) Outage { return Outage{From: from, To: to, After: after} }
	acts := e.Acts
	if !e.Ended.IsZero() { // a client that has ended does not recover, whatever is done to it
		acts = append(acts[:len(acts):len(acts)], Act{At: e.Ended, Text: "its end", Way: scenario.Opens})
	}
	for i := 0; i <= len(e.Deliveries); i++ {
		next := e.Stopped
		if i < len(e.Deliveries) {
			next = e.Deliveries[i].Received
		}
		for ; len(acts) > 0 && !acts[0].At.After(next); acts = acts[1:] {
			if o := until(acts[0].At); acts[0].Way != scenario.Unchanged && !opened && !shut &&
				o.duration() > e.longestPause() {
				all = append(all, o) // this act does not excuse the time before it
			}
			switch acts[0].Way {
			case scenario.Opens:
				if shut || !opened { // otherwise the outage since the last opening continues
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
		if !shut && (opened && !o.Endless || o.duration() > e.longestPause()) && next.After(e.Start) {
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

// busiest returns the largest number of times within any span.
func busiest(moments []time.Time, span time.Duration) int { return len(busiestPart(moments, span)) }

// busiestPart returns the times within the span that has most of them.
func busiestPart(moments []time.Time, span time.Duration) (most []time.Time) {
	from := 0
	for i, at := range moments {
		for at.Sub(moments[from]) >= span {
			from++
		}
		if part := moments[from : i+1]; len(part) > len(most) {
			most = part
		}
	}
	return most
}
