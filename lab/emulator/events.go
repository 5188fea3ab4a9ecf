package emulator

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// A Kind sorts events.
type Kind string

// The kinds of events.
const (
	KindConnected    Kind = "connected"
	KindRefused      Kind = "refused" // a connection that got no further: why is in the text
	KindDisconnected Kind = "disconnected"
	KindRegister     Kind = "register" // a device asked DPS for its hub
	KindAssigned     Kind = "assigned"
	KindSubscribed   Kind = "subscribed"
	KindTelemetry    Kind = "telemetry" // stored in the ledger
	KindTwin         Kind = "twin"
	KindMethod       Kind = "method"
	KindMessage      Kind = "message"   // cloud to device
	KindViolation    Kind = "violation" // the client broke a rule of the wire
	KindNote         Kind = "note"      // the client did what no document describes, and the emulator took it
	KindLizard       Kind = "lizard"    // a fault was started or ended
)

// An Event is one thing that happened in the cloud. Hub is a hub's name or "DPS". No key or token is ever in it.
type Event struct {
	Time   time.Time
	Kind   Kind
	Hub    string
	Device string
	Text   string
}

// news is what has happened and was not told yet, and who waits for it.
type eventQueue struct {
	pending    []Event
	delivering bool // some goroutine is in Observe; it will tell the rest too
	hasNew     bool
	waiters    int
	changed    chan struct{}
}

func newEventQueue() eventQueue { return eventQueue{changed: make(chan struct{})} }

// secret finds a token's signature, and a key of 32 bytes or more by the '=' at its end, URL-encoded too: a client may send its
// password as its user name.
var secret = regexp.MustCompile(`sig=[^&\s"]+|[A-Za-z0-9+/_%-]{42,}(%3[Dd]|==?([/:\s"]|$))`)

func withoutSecrets(text string) string { return secret.ReplaceAllString(text, "(a secret)$2") }

// tell records an event; unlock passes it on. It is called with c.mu held.
func (c *Cloud) emit(kind Kind, hub, device, format string, values ...any) {
	c.events.hasNew = true
	if c.config.Observe != nil {
		text := withoutSecrets(fmt.Sprintf(format, values...))
		c.events.pending = append(c.events.pending, Event{time.Now(), kind, hub, withoutSecrets(device), text})
	}
}

// unlock releases c.mu, wakes whoever waits for news, and tells the events in order and outside the lock.
func (c *Cloud) unlock() {
	if c.data != nil {
		select {
		case c.data.changed <- struct{}{}:
		default:
		}
	}
	n := &c.events
	if n.hasNew && n.waiters > 0 {
		close(n.changed)
		n.changed = make(chan struct{})
	}
	n.hasNew = false
	if n.delivering {
		c.mu.Unlock()
		return
	}
	n.delivering = true
	for len(n.pending) > 0 {
		batch := n.pending
		n.pending = nil
		c.mu.Unlock()
		for _, event := range batch {
			c.config.Observe(event)
		}
		c.mu.Lock()
	}
	n.delivering = false
	c.mu.Unlock()
}

// Wait returns once the condition holds. It looks again after every happening, so that no test needs to sleep; it does not
// notice what only time changes, such as a message's expiry.
func (c *Cloud) Wait(ctx context.Context, condition func() bool) error {
	c.mu.Lock()
	c.events.waiters++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.events.waiters--
		c.mu.Unlock()
	}()
	for {
		c.mu.Lock()
		changed := c.events.changed
		c.mu.Unlock()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("emulator: wait: %w", ctx.Err())
		case <-c.closed:
			return ErrClosed
		}
	}
}

// breach counts a broken rule and returns it as the error that ends the connection. The sentence's subject is the
// device. It is called with c.mu held.
func (c *Cloud) violation(where, device, format string, values ...any) error {
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
	c.emit(KindViolation, where, device, "%s", sentence)
	return violation(sentence)
}

// A breach is an error that has been counted as a violation.
type violation string

func (b violation) Error() string { return string(b) }

// Violations are the rules that clients broke, one sentence each, oldest first.
func (c *Cloud) Violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.violations)
}
