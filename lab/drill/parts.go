package drill

import (
	"fmt"
	"strings"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// Parts say where the time of an outage went, as far as the cloud can see.
type Parts struct {
	First       time.Duration // until the client tried to connect to a host that is up; negative if it never did
	Registering time.Duration // at DPS, from the request to the end of the connection, in all registrations
	Rest        time.Duration // waiting between attempts, attempts that failed, and connecting
	Attempts    int           // connections to hosts that are up
	Never       []string      // hubs to which the device was moved and at which it was not before the next move
}

// parts returns the parts of an outage.
func (e *Evidence) parts(o Outage) Parts {
	p := Parts{First: -1}
	var asked time.Time
	for _, event := range e.Events {
		if event.Time.Before(o.From) || event.Time.After(o.To) {
			continue
		}
		switch event.Kind {
		case emulator.KindConnected, emulator.KindRefused:
			if p.Attempts++; p.First < 0 {
				p.First = event.Time.Sub(o.From)
			}
		case emulator.KindRegister:
			asked = event.Time
		case emulator.KindDisconnected:
			if event.Hub == "DPS" && !asked.IsZero() {
				p.Registering += event.Time.Sub(asked)
				asked = time.Time{}
			}
		}
	}
	p.Rest = o.duration() - max(p.First, 0) - p.Registering
	p.Never = e.never(o)
	return p
}

// never returns the hubs that the device should have reached within an outage, before it was moved again.
func (e *Evidence) never(o Outage) (hubs []string) {
	var to string
	var at time.Time
	for _, a := range e.Acts {
		hub, isMove := strings.CutPrefix(a.Text, "move ")
		if !isMove || a.At.Before(o.From) || a.At.After(o.To) {
			continue
		}
		if to != "" {
			hubs = append(hubs, fmt.Sprintf("never at %s, it was moved to %s after %.3g s", to, hub,
				a.At.Sub(at).Seconds()))
		}
		to, at = hub, a.At
	}
	if o.Endless && to != "" {
		hubs = append(hubs, "never at "+to)
	}
	return hubs
}

// String is the parts in words.
func (p Parts) String() string {
	if p.First < 0 {
		return strings.Join(append(p.Never, "no attempt was seen"), "; ")
	}
	text := fmt.Sprintf("first attempt after %s", seconds(p.First))
	if p.Registering > 0 {
		text += ", DPS " + seconds(p.Registering)
	}
	return strings.Join(append(p.Never, text+", other "+seconds(p.Rest)), "; ")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%g s", round(d.Seconds())) }
