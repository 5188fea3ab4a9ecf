package emulator

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

// A Kind is the kind of an event.
type Kind string

// The kinds of events.
const (
	KindConnected    Kind = "connected"
	KindRefused      Kind = "refused" // a connection or login was refused; the text contains the reason
	KindDisconnected Kind = "disconnected"
	KindRegister     Kind = "register" // a device asked DPS for its hub
	KindAssigned     Kind = "assigned"
	KindSubscribed   Kind = "subscribed"
	KindTelemetry    Kind = "telemetry" // the hub stored a telemetry message in the ledger
	KindTwin         Kind = "twin"
	KindMethod       Kind = "method"
	KindMessage      Kind = "message"   // the queue of cloud-to-device messages has changed, or a message was sent
	KindService      Kind = "service"   // a hub or DPS has answered a request to its service API
	KindViolation    Kind = "violation" // the client broke a rule of the protocol
	KindNote         Kind = "note"      // the client did something undocumented, or a file cannot be used
	KindLizard       Kind = "lizard"    // a fault was injected or cleared, or took effect
)

// An Event is one event in the cloud. Hub is the name of a hub, "DPS" or "". The text follows the
// kind in a sentence, as in "subscribed to …"; it may be empty. Refusal is the name of a row of
// Refusals, if the emulator has refused something; a refusal by a fault has none. An event never
// contains a key or a token.
type Event struct {
	Time    time.Time
	Kind    Kind
	Hub     string
	Device  string
	Text    string
	Refusal string
}

// An eventQueue holds the events that were not delivered yet, and wakes the callers of Wait.
type eventQueue struct {
	pending    []Event
	delivering bool // a goroutine is delivering events, and will deliver the queued ones, too
	hasNew     bool
	waiters    int
	changed    chan struct{}
}

func newEventQueue() eventQueue { return eventQueue{changed: make(chan struct{})} }

// secret matches the signature of a token, and a base64 key of 32 bytes or more that ends with '=',
// also URL-encoded. A client may send its password as its user name by mistake.
var secret = regexp.MustCompile(`sig=[^&\s"]+|[A-Za-z0-9+/_%-]{42,}(%3[Dd]|==?([/:\s"]|$))`)

func withoutSecrets(text string) string { return secret.ReplaceAllString(text, "(a secret)$2") }

// emit queues an event, which unlock delivers. It is called with c.mu held.
func (c *Cloud) emit(kind Kind, hub, device, format string, values ...any) {
	c.emitRefusal("", kind, hub, device, format, values...)
}

// emitRefusal queues the event of a refusal. The empty refusal means that nothing was refused, or
// that a fault has refused it.
func (c *Cloud) emitRefusal(r refusal, kind Kind, hub, device, format string, values ...any) {
	c.events.hasNew = true
	if c.config.Observe != nil {
		c.events.pending = append(c.events.pending, Event{
			Time: time.Now(), Kind: kind, Hub: hub, Device: withoutSecrets(device),
			Text: withoutSecrets(fmt.Sprintf(format, values...)), Refusal: string(r),
		})
	}
}

// unlock releases c.mu, wakes the callers of Wait, and delivers the events in order, outside the
// lock.
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

// Wait returns when the condition is true. It checks the condition again after every event, so that
// no test needs to sleep. It does not notice changes without an event, such as the expiry of a
// message.
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
