package emulator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Refusal is one kind of behavior that the emulator refuses, because the real service refuses it.
type Refusal struct {
	Name     string // the Refusal of events
	What     string // what a client does, or lets happen
	Answer   string // what the client gets
	Evidence string // the document, specification or report that shows the real service refusing it
}

// Refusals returns everything that the emulator refuses, in the order of docs/emulator.md. Faults
// are not part of it: they refuse what they are injected to refuse.
func Refusals() []Refusal {
	all := make([]Refusal, len(refusals))
	for i, r := range refusals {
		all[i] = Refusal{string(r.name), r.what, r.answer, r.evidence}
	}
	return all
}

// A refusal is the name of a row of the table refusals. Code that refuses something names its row.
type refusal string

// A refusedError is an error with the refusal that it leads to.
type refusedError struct {
	refusal refusal
	text    string
}

func (e *refusedError) Error() string { return e.text }

// refuse returns an error that leads to a refusal.
func refuse(r refusal, format string, values ...any) error {
	return &refusedError{r, fmt.Sprintf(format, values...)}
}

// refusalOf returns the refusal that an error leads to. It is empty if the error comes from a fault.
func refusalOf(err error) refusal {
	var e *refusedError
	if errors.As(err, &e) {
		return e.refusal
	}
	return ""
}

// The reasons of ended connections that are refusals.
const (
	endedByTakeover = "a second connection took over"
	endedByExpiry   = "its token has expired"
	endedBySilence  = "silent for 1.5 times its keep-alive"
	endedByTLS      = "TLS handshake: " // the error follows
)

var endedWithoutCONNECT = fmt.Sprintf("no CONNECT within %v", connectTimeout)

// refusalOfEnd returns the refusal that ended a connection, or "".
func refusalOfEnd(why string) refusal {
	switch {
	case why == endedByTakeover:
		return refuseTakenOver
	case why == endedByExpiry:
		return refuseExpired
	case why == endedBySilence:
		return refuseSilent
	case why == endedWithoutCONNECT:
		return refuseNoCONNECT
	case why == errSlowReader.Error():
		return refuseSlowReader
	case strings.HasPrefix(why, endedByTLS):
		return refuseTLS
	}
	return ""
}

// reportEnd emits the event for the end of a session, or of a connection without a session.
func (c *Cloud) reportEnd(kind Kind, where, device, why string) {
	c.emitRefusal(refusalOfEnd(why), kind, where, device, "%s", why)
}

// violation records that a client broke a rule, and returns the error that ends the connection. The
// subject of the sentence is the device. It is called with c.mu held.
func (c *Cloud) violation(r refusal, where, device, format string, values ...any) error {
	who := device
	if who == "" {
		who = "a client"
	}
	at := where
	if where != "DPS" {
		at = "hub " + where
	}
	sentence := withoutSecrets(fmt.Sprintf("%s at %s ", who, at) + fmt.Sprintf(format, values...))
	c.violations = append(c.violations, sentence)
	c.emitRefusal(r, KindViolation, where, device, "%s", sentence)
	return violation(sentence)
}

// A violation is an error that was recorded as a violation.
type violation string

func (b violation) Error() string { return string(b) }

// Violations returns a sentence for each broken rule, oldest first.
func (c *Cloud) Violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.violations)
}
