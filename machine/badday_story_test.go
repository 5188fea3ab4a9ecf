package machine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// A story is what became of the device on a bad day, from the strike on. The same day has the same story.
type story struct {
	path     string // a letter for each state, the one that was struck first
	causes   string // of its failures, each once
	outcomes string
	took     time.Duration // until it was Connected for good, negative if it was all the time; or until it had closed
	at       string        // the hub
	dps, hub int           // connections that it tried
	lost     int           // readings, by its own account, when it closed
	besides  string        // what else a user would notice
}

// The bounds hold whatever docs/faults.md says.
type bounds struct {
	recovery time.Duration // after the fault, when a rest may just have begun
}

var (
	withHalfLuck = bounds{recovery: 90 * time.Second}
	withAnyLuck  = bounds{recovery: recovery}
)

const longestClosing = 5*time.Second + 500*time.Millisecond

// warnings are all that a bad day may bring, and what the document says of them.
var warnings = map[string]string{
	"probably a second process":    "a warning that a second process may use the same identity",
	"a twin request failed":        "", // what is late because of it is told
	"not everything could be sent": "a warning that not all was sent",
	"reported properties were not": "a warning that not all was sent",
	"clock":                        "", // of which docs/events.md tells
}

// story closes the device, judges it and says what it has done. Whatever that is, nothing may be lost.
func (w *witness) story(most bounds) (s story) {
	w.t.Helper()
	if s.took = w.back(); w.in == machine.Closing {
		s.took, s.lost = w.wantAnHonestEnd()
	} else {
		w.wantRecovery(s.took, most.recovery)
		w.wantAllDelivered()
		s.at = w.cloud.HubOf(deviceID)
	}
	s.path = w.route()
	s.causes = strings.Join(once(w.each(func(r machine.Record) string { return r.Cause })), " ")
	s.outcomes = counted(w.each(func(r machine.Record) string { return r.Outcome }))
	s.besides = strings.Join(w.besides(s.took), ", ")
	s.dps, s.hub = w.connections()
	s.took = s.took.Round(100 * time.Millisecond)
	return s
}

// each is what a record says, of all since the strike that say something.
func (w *witness) each(says func(machine.Record) string) (all []string) {
	for _, r := range w.records {
		if text := says(r); text != "" && !r.Time.Before(w.struckAt) {
			all = append(all, text)
		}
	}
	return all
}

// back is how long it took until the device was Connected for good, or negative if it was all the time. A
// planned reconnect is nothing to come back from.
func (w *witness) back() time.Duration {
	took := time.Duration(-time.Second)
	for i, v := range w.states {
		renewed := i > 1 && w.states[i-1].state == machine.Connecting && w.states[i-2].state == machine.Connected
		if v.state == machine.Connected && !renewed && i > w.firstOf.states {
			took = v.at.Sub(w.struckAt)
		}
	}
	return took
}

func (w *witness) wantRecovery(back, most time.Duration) {
	w.t.Helper()
	hub := w.cloud.HubOf(deviceID)
	if s := w.device.State(); s != machine.Connected || !w.cloud.Connected(deviceID, hub) {
		w.t.Errorf("in the end the device is %s, and at hub %s: %t", s, hub, w.cloud.Connected(deviceID, hub))
	}
	if back > struckFor+most {
		w.t.Errorf("it was Connected for good only after %v", back)
	}
}

// wantAllDelivered wants what was taken at the cloud, and what the cloud took at the device; but a poisonous reading.
func (w *witness) wantAllDelivered() {
	w.t.Helper()
	if n := len(w.desired.sent); n > 0 {
		w.t.Errorf("%d changes of a desired property were not heard", n)
	}
	if n := len(w.counts.sent); n > 0 {
		w.t.Errorf("%d changes of a reported property did not arrive", n)
	}
	for id, handled := range w.messages {
		if handled == 0 {
			w.t.Errorf("%s was not handled", id)
		}
	}
	if n := w.cloud.QueueLength(deviceID); n > 0 {
		w.t.Errorf("%d messages were not completed", n)
	}
	err := w.close()
	if w.fault.Name != emulator.Poison {
		if err != nil {
			w.t.Errorf("close: %v", err)
		}
		w.wantNothingLost()
		return
	}
	var lost *machine.LostError
	if !errors.As(err, &lost) || *lost != (machine.LostError{Dropped: 1}) {
		w.t.Errorf("close: %v", err)
	}
	w.taken = slices.DeleteFunc(w.taken, func(id string) bool { return id == w.poisonous })
	w.wantNothingLost()
}

// wantAnHonestEnd wants the device closed in time, every reading delivered or counted as lost, and every
// message handled or left to the cloud.
func (w *witness) wantAnHonestEnd() (took time.Duration, left int) {
	w.t.Helper()
	begin := time.Now()
	err := w.close()
	took = time.Since(begin)
	synctest.Wait()
	if took > longestClosing {
		w.t.Errorf("closing took %v", took)
	}
	lost := new(machine.LostError)
	if err != nil && !errors.As(err, &lost) || lost.Dropped > 0 {
		w.t.Errorf("close: %v", err)
	}
	delivered := map[string]bool{}
	for _, d := range w.cloud.Ledger() {
		delivered[d.MessageID] = true
	}
	if missing := len(w.taken) - len(delivered); missing > lost.Left {
		w.t.Errorf("%d readings are missing, and %d were reported", missing, lost.Left)
	}
	if v := w.cloud.Violations(); len(v) > 0 {
		w.t.Errorf("the device broke the hub's rules: %q", v)
	}
	unhandled := 0
	for _, handled := range w.messages {
		if handled == 0 {
			unhandled++
		}
	}
	if n := w.cloud.QueueLength(deviceID); n < unhandled {
		w.t.Errorf("%d messages were not handled, and %d are in the cloud", unhandled, n)
	}
	return took, lost.Left
}

// besides are the things that a path does not show.
func (w *witness) besides(back time.Duration) (all []string) {
	twice := 0
	for _, handled := range w.messages {
		if handled > 1 {
			twice++
		}
	}
	if twice > 0 {
		w.t.Errorf("%d messages were handled twice", twice)
	}
	if w.desired.again > 0 {
		all = append(all, fmt.Sprintf("%d desired properties handled twice", w.desired.again))
	}
	if w.in != machine.Closing {
		for what, e := range map[string]errand{"desired": w.desired, "reported": w.counts} {
			if e.latest > max(back, 0)+time.Second {
				all = append(all, fmt.Sprintf("%s properties up to %.0f s late", what, e.latest.Seconds()))
			}
		}
	}
	for _, r := range w.records {
		switch r.Kind {
		case observe.Dropped:
			all = append(all, "a reading "+r.Cause)
		case observe.IllegalEvent:
			w.t.Errorf("an event was refused: %s", r.Message)
		case observe.Warning:
			all = append(all, w.known(r))
		}
	}
	slices.Sort(all)
	return slices.Compact(slices.DeleteFunc(all, func(text string) bool { return text == "" }))
}

func (w *witness) known(r machine.Record) string {
	for says, meaning := range warnings {
		if strings.Contains(r.Message+r.Error, says) {
			return meaning
		}
	}
	w.t.Errorf("a warning that no bad day should bring: %s %s", r.Message, r.Error)
	return ""
}

// connections counts the connections that were tried, to DPS and to hubs. The cloud cannot have seen more of them.
func (w *witness) connections() (dps, hub int) {
	w.t.Helper()
	to := map[string][]time.Time{}
	for _, c := range w.dials[w.firstOf.dials:] {
		to[c.address] = append(to[c.address], c.at)
	}
	toDPS := to[w.cloud.DPSHost()]
	delete(to, w.cloud.DPSHost())
	policy := machine.Policy{}.WithDefaults()
	if n := busiestMinute(toDPS); n > policy.DPSRate {
		w.t.Errorf("within a minute there were %d connections to DPS", n)
	}
	var toHubs []time.Time
	for host, times := range to {
		toHubs = append(toHubs, times...)
		if n := busiestMinute(times); n > policy.HubRate {
			w.t.Errorf("within a minute there were %d connections to %s", n, host)
		}
	}
	registrations, connects := w.cloud.Registrations(deviceID)-w.firstOf.registrations, w.connects()-w.firstOf.connects
	if registrations > len(toDPS) || connects > len(toHubs) {
		w.t.Errorf("the cloud has seen %d registrations and %d CONNECTs, and there were %d and %d connections",
			registrations, connects, len(toDPS), len(toHubs))
	}
	return len(toDPS), len(toHubs)
}

func busiestMinute(calls []time.Time) (most int) {
	for i, from := range calls {
		n := 0
		for n < len(calls)-i && calls[i+n].Sub(from) < time.Minute {
			n++
		}
		most = max(most, n)
	}
	return most
}
