// Package observe defines the records in which a device describes what happens to it. It also
// passes records to observers, and prints them. It does not depend on the names of states.
package observe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Kind says what happened. docs/events.md describes each kind.
type Kind string

// The kinds.
const (
	Transition   Kind = "transition" // the machine has moved
	Waiting      Kind = "waiting"    // the machine waits before its next attempt
	Outcome      Kind = "outcome"    // an outage has ended
	Payload      Kind = "payload"    // DPS has returned a payload with the assignment
	Accepted     Kind = "taken"      // a reading was accepted
	Delivered    Kind = "delivered"  // a hub has acknowledged a reading
	Dropped      Kind = "dropped"    // the outbox has dropped readings; Cause is the reason
	IllegalEvent Kind = "refused"    // the machine has refused an event for which its table has no row
	Handled      Kind = "handled"    // a handler of a method, a command or a desired property has returned
	Clock        Kind = "clock"      // the wall clock was set
	Warning      Kind = "warning"    // something that an operator should know; the device goes on
	Note         Kind = "note"       // any other information
)

// A Level is the importance of a record.
type Level string

// The levels.
const (
	Debug Level = "debug"
	Info  Level = "info"
	Warn  Level = "warn"
)

// A Phase says what a transition means for the connection to a hub, whatever the states are called.
type Phase string

// The phases. A transition that does not change the connection has no phase.
const (
	Connected    Phase = "connected"    // a hub was reached
	Disconnected Phase = "disconnected" // the hub was lost, or could not be reached
	Closing      Phase = "closing"      // the device ends
)

// The outcomes of an outage.
const (
	Reconnected = "reconnected" // the device is connected to the same hub again
	FailedOver  = "failed over" // the device is connected to another hub
	FailedBack  = "failed back" // the device is connected to the hub from which it had failed over
)

// AlreadyCompleted is the status of a command that a hub delivered again after the handler had
// succeeded. The device completes the command without calling the handler again.
const AlreadyCompleted = 208

// A Record is one thing that happened. Logs, traces and metrics are made from records. Durations
// are in milliseconds. JSON leaves zero fields out. docs/events.md says which kinds have which
// fields.
type Record struct {
	Time    time.Time `json:"time"`
	Level   Level     `json:"level"`
	Kind    Kind      `json:"kind"`
	Device  string    `json:"device,omitempty"` // the registration ID
	Message string    `json:"message"`          // the record in one line, for people

	From    string    `json:"from,omitempty"`     // state that the device has left
	To      string    `json:"to,omitempty"`       // state that the device has entered
	Phase   Phase     `json:"phase,omitempty"`    // what the transition means for the connection
	State   string    `json:"state,omitempty"`    // state of the device when it waited or refused an event
	Event   string    `json:"event,omitempty"`    // event of the transition table; in a wait, the next event
	Cause   string    `json:"cause,omitempty"`    // cause as one word that does not change between versions
	Error   string    `json:"error,omitempty"`    // full text of the error
	Hub     string    `json:"hub,omitempty"`      // the hub that the record concerns
	FromHub string    `json:"from_hub,omitempty"` // in an outcome, the hub that was lost
	Attempt int       `json:"attempt,omitempty"`  // number of the attempt since the last stable session; 1 is the first
	SpentMS int64     `json:"spent_ms,omitempty"` // time spent in the state From; in an outcome, length of the outage
	StepMS  int64     `json:"step_ms,omitempty"`  // step of the wall clock; negative means that it was set back
	Next    time.Time `json:"next,omitzero"`      // time of the next attempt
	Outcome string    `json:"outcome,omitempty"`  // outcome of the outage: reconnected, failed over or failed back

	ID       string `json:"id,omitempty"`       // ID of the reading, or of the dropped readings: 8f3a1c02-17-20,25
	Count    int    `json:"count,omitempty"`    // number of dropped readings; left out for a single one
	Name     string `json:"name,omitempty"`     // name of the method, command or property
	Status   int    `json:"status,omitempty"`   // the status that a handler returned
	Bytes    int    `json:"bytes,omitempty"`    // size of the payload
	Repeated int    `json:"repeated,omitempty"` // earlier records like this one that a Fan or Thin left out
}

// Describe returns the record with a message. If the record has no message, Describe makes one from
// the other fields.
func (r Record) Describe() Record {
	if r.Message == "" {
		r.Message = r.text()
	}
	return r
}

func (r Record) text() string {
	//exhaustive:enforce
	switch r.Kind {
	case Transition:
		return words(r.From, "-> "+r.To, after("on", r.Event), after("at", r.Hub), after("attempt", number(r.Attempt)),
			bracketed(r.Cause))
	case Waiting:
		return words("next:", r.Event, "in "+Span(r.Next.Sub(r.Time)), bracketed(r.Cause))
	case Outcome:
		took := "in " + Span(r.spent())
		if r.FromHub == r.Hub {
			return words(r.Outcome, after("at", r.Hub), took)
		}
		return words(r.Outcome, after("from", r.FromHub), after("to", r.Hub), took)
	case Payload:
		return fmt.Sprintf("DPS returned a payload of %d bytes with the assignment", r.Bytes)
	case Accepted, Delivered:
		return words(string(r.Kind), r.ID, after("to", r.Hub), bracketed(r.Cause))
	case Dropped:
		if r.Count > 1 {
			return words("dropped", plural(r.Count, "reading"), bracketed(r.Cause), r.ID)
		}
		return words("dropped", r.ID, bracketed(r.Cause))
	case Clock:
		if r.StepMS < 0 {
			return "the clock was set " + Span(-r.step()) + " back"
		}
		return "the clock was set " + Span(r.step()) + " ahead"
	case IllegalEvent:
		return fmt.Sprintf("refused %q in %s", r.Event, r.State)
	case Handled:
		return words(r.Name, after("answered", number(r.Status)))
	case Warning, Note:
	}
	return r.Error // also for kinds that only a later version knows
}

// readings returns the number of dropped readings in a record of the kind Dropped.
func (r Record) readings() int { return max(1, r.Count) }

func (r Record) spent() time.Duration { return time.Duration(r.SpentMS) * time.Millisecond }

func (r Record) step() time.Duration { return time.Duration(r.StepMS) * time.Millisecond }

func words(parts ...string) string { return joined(" ", parts...) }

func joined(by string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), by)
}

// after returns word, a space and s, or "" if s is empty.
func after(word, s string) string {
	if s == "" {
		return ""
	}
	return word + " " + s
}

func bracketed(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// Span returns a duration as text for people, in at most two units, such as "2 h 5 min".
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d.%d s", d/time.Second, d%time.Second/(100*time.Millisecond))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/day, d%day/time.Hour)
}
