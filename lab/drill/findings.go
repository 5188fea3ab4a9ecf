package drill

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// findings says in one sentence each what is wrong with a client that has failed, the most important first.
func (e *Evidence) findings(s scenario.Scenario, c *Card) (all []string) {
	add := func(text string) {
		if text != "" {
			all = append(all, text)
		}
	}
	add(e.died())
	if !e.wasAt("", time.Time{}, e.Stopped) {
		add(e.outside())
	} else if c.Readings == 0 {
		add("The client connected to a hub and sent no reading.")
	}
	if absent := e.absent(s); absent != "" {
		add(absent)
	} else {
		add(e.lockedOut())
	}
	add(e.restless(s))
	if rule := first(c.Breaches); rule != "" && !strings.Contains(strings.Join(all, "\n"), first(e.Breaches)) {
		add("The client broke a rule of the wire: " + rule)
	}
	return all
}

// died says how the client ended, if it ended too early or too late.
func (e *Evidence) died() string {
	switch output := e.Process.Output; {
	case e.Process.Died == "":
		return ""
	case output == nil:
		return "The client " + e.Process.Died + "."
	case len(output) == 0:
		return "The client " + e.Process.Died + ", and printed nothing."
	default:
		return "The client " + e.Process.Died + ": " + lastWords(output)
	}
}

// outside says why the client never had a session at a hub.
func (e *Evidence) outside() string {
	if refused := e.blame(time.Time{}, e.Stopped); refused != "" {
		return "The client never connected to a hub: " + refused
	}
	if len(e.Attempts) > 0 { // DPS has let it in
		return fmt.Sprintf("The client connected to DPS %s, and never to a hub.", counted(len(e.Attempts), "time"))
	}
	return "The client never tried to connect to DPS or a hub."
}

// absent says that the client never came to a hub to which the cloud moved it, although the way to that hub was
// open for longer than a recovery may take.
func (e *Evidence) absent(s scenario.Scenario) string {
	limit, _ := s.Expects(scenario.Recovery)
	for _, v := range e.visits() {
		if v.open <= limit.Within || e.wasAt(v.hub, v.from, v.to) || !e.wasAt("", time.Time{}, v.from) {
			continue
		}
		text := fmt.Sprintf("The client never came to hub %s, where the cloud expected it from %g s to %g s: ",
			v.hub, e.since(v.from), e.since(v.to))
		refused := e.blame(v.from, v.to)
		tried := slices.ContainsFunc(e.Attempts, func(at time.Time) bool {
			return !at.Before(v.from) && at.Before(v.to)
		})
		switch {
		case refused != "":
			return text + refused
		case tried:
			return text + "it connected elsewhere"
		}
		return text + "the cloud saw no attempt to connect"
	}
	return ""
}

// lockedOut says why the client, which runs, never recovered from its last outage.
func (e *Evidence) lockedOut() string {
	for _, o := range e.outages() {
		if refused := e.blame(o.From, o.To); o.Endless && e.Ended.IsZero() && refused != "" &&
			e.wasAt("", time.Time{}, o.From) {
			return fmt.Sprintf("The client delivered nothing after %g s: %s", e.since(o.From), refused)
		}
	}
	return ""
}

// restless says that the client connects too often.
func (e *Evidence) restless(s scenario.Scenario) string {
	limit, limited := s.Expects(scenario.AttemptsAMinute)
	attempts := busiestPart(e.Attempts, time.Minute)
	if !limited || len(attempts) <= max(limit.Most, 1) {
		return ""
	}
	var waits []time.Duration
	for i, at := range attempts[1:] {
		waits = append(waits, at.Sub(attempts[i]))
	}
	slices.Sort(waits)
	return fmt.Sprintf("The client tried to connect %d times within a minute, where %d are allowed, and needs a "+
		"longer back-off: half of the attempts began %s or less after the one before.",
		len(attempts), limit.Most, seconds(waits[len(waits)/2]))
}

// blame says which host refused most connections within a time, and why.
func (e *Evidence) blame(from, to time.Time) string {
	all := e.refusals(from, to)
	if len(all) == 0 {
		return ""
	}
	most := slices.MaxFunc(all, func(a, b Refusal) int { return a.Count - b.Count })
	if most.Where == "" { // other reasons than the card names
		most = all[0]
	}
	return fmt.Sprintf("%s refused %s%s", hostName(most.Where), most.noun(), most.because())
}

// wasAt reports whether the client began a session at a hub within a time. An empty name means any hub.
func (e *Evidence) wasAt(hub string, from, to time.Time) bool {
	return slices.ContainsFunc(e.Events, func(event emulator.Event) bool {
		return event.Kind == emulator.KindConnected && event.Hub != emulator.TargetDPS &&
			(hub == "" || event.Hub == hub) && !event.Time.Before(from) && !event.Time.After(to)
	})
}

// A visit is a time in which the cloud expects the client at another hub than before.
type visit struct {
	hub      string
	from, to time.Time
	open     time.Duration // the longest time in which the client had a way to the hub
}

// visits returns the visits in order. At the beginning the client is expected at hub A, which is no visit.
func (e *Evidence) visits() (all []visit) {
	home, end := "A", e.Stopped
	if !e.Ended.IsZero() {
		end = e.Ended
	}
	var opened time.Time // since when the client has a way; zero means that it has none
	leave := func(at time.Time) {
		if len(all) > 0 {
			v := &all[len(all)-1]
			if v.to = at; !opened.IsZero() {
				v.open = max(v.open, at.Sub(opened))
			}
		}
	}
	for _, a := range e.Acts {
		hub, moves := strings.CutPrefix(a.Text, "move ")
		if moves = moves && hub != home; moves || a.Way != scenario.Unchanged {
			leave(a.At)
			opened = valueIf(a.Way == scenario.Opens, a.At)
		}
		if moves {
			home, all = hub, append(all, visit{hub: hub, from: a.At})
		}
	}
	leave(end)
	return all
}
