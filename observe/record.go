// Package observe has the records in which a device describes what happens to it, the ways in which
// records reach observers, and how they are printed. It knows no names of states.
package observe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Kind is what a record is about. docs/events.md describes each kind.
type Kind string

// The kinds.
const (
	Transition   Kind = "transition" // the machine has moved
	Waiting      Kind = "waiting"    // the machine waits before its next attempt
	Outcome      Kind = "outcome"    // an outage has ended
	Payload      Kind = "payload"    // DPS has returned a payload with the assignment
	Accepted     Kind = "taken"      // a reading was accepted
	Delivered    Kind = "delivered"  // a hub has acknowledged a reading
	Dropped      Kind = "dropped"    // readings were removed by policy, or the disk refused them
	IllegalEvent Kind = "refused"    // the machine has refused an event that its table lacks
	Handled      Kind = "handled"    // a handler has returned from a method, a command or a desired property
	Clock        Kind = "clock"      // the wall clock was set
	Warning      Kind = "warning"    // an operator should know it, but the device goes on
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

// The phases. A transition that changes none of this has no phase.
const (
	Connected    Phase = "connected"    // a hub was reached
	Disconnected Phase = "disconnected" // the hub was lost, or could not be reached
	Closing      Phase = "closing"      // the device ends
)

// The outcomes of an outage.
const (
	Reconnected = "reconnected" // at the same hub
	FailedOver  = "failed over" // at another hub
	FailedBack  = "failed back" // at the hub it had failed over from
)

// AlreadyCompleted is the status of a command that was delivered again after its handler had
// succeeded. It is completed, and its handler is not called again.
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

	From    string    `json:"from,omitempty"`     // the state left
	To      string    `json:"to,omitempty"`       // the state entered
	Phase   Phase     `json:"phase,omitempty"`    // what the transition means for the connection
	State   string    `json:"state,omitempty"`    // the state it happened in
	Event   string    `json:"event,omitempty"`    // an event of the transition table; while waiting, the next one
	Cause   string    `json:"cause,omitempty"`    // one word that does not change between versions
	Error   string    `json:"error,omitempty"`    // the cause in full
	Hub     string    `json:"hub,omitempty"`      // the hub that the record concerns
	FromHub string    `json:"from_hub,omitempty"` // in an outcome, the hub that was lost
	Attempt int       `json:"attempt,omitempty"`  // attempts since the last session that lasted, 1 for the first
	SpentMS int64     `json:"spent_ms,omitempty"` // time spent in the state left; in an outcome, from the loss to Connected
	StepMS  int64     `json:"step_ms,omitempty"`  // how far the wall clock was set; negative when it was set back
	Next    time.Time `json:"next,omitzero"`      // time of the next attempt
	Outcome string    `json:"outcome,omitempty"`  // reconnected, failed over, failed back

	ID       string `json:"id,omitempty"`       // ID of the reading, or of the dropped readings: 8f3a1c02-17-20,25
	Count    int    `json:"count,omitempty"`    // number of dropped readings; left out for a single one
	Name     string `json:"name,omitempty"`     // name of the method, command or property
	Status   int    `json:"status,omitempty"`   // the status that a handler returned
	Bytes    int    `json:"bytes,omitempty"`    // size of the payload
	Repeated int    `json:"repeated,omitempty"` // earlier records like this one that a Fan or Thin left out
}

// Describe returns the record with a message. It makes one from the other fields if there is none.
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
	return r.Error // also of a kind of a later version
}

// readings returns the number of dropped readings.
func (r Record) readings() int { return max(1, r.Count) }

func (r Record) spent() time.Duration { return time.Duration(r.SpentMS) * time.Millisecond }

func (r Record) step() time.Duration { return time.Duration(r.StepMS) * time.Millisecond }

func words(parts ...string) string { return joined(" ", parts...) }

func joined(by string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), by)
}

// after returns s after a word, or "" if s is empty.
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

// Span returns a duration for people, in at most two units.
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
