// Package hub is the conversation between a device and its hub over one session: telemetry, the
// device twin, direct methods and cloud-to-device messages. A Hub has four parts: delivery sends
// readings; twin follows the desired properties and sends the reported ones; methods and commands
// pass what the hub sends to the handlers. The handlers run in a pool.
package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
	"giantlizard.example/failover/transport"
)

// Kinds is a set of the kinds of things that a device and its hub exchange.
type Kinds uint8

// The kinds.
const (
	Telemetry Kinds = 1 << iota
	Reported        // reported properties, without the acknowledgements of desired ones
	Desired         // desired properties and their acknowledgements
	Methods         // direct methods
	Commands        // cloud-to-device messages
)

// Has reports whether the set contains at least one of the kinds in other.
func (k Kinds) Has(other Kinds) bool { return k&other != 0 }

// Settings are what a Hub needs for the life of its device.
type Settings struct {
	Handlers Handlers
	Off      Kinds // kinds that are switched off
	Outbox   outbox.Outbox
	Delivery Delivery
	// CompletedFile remembers completed cloud-to-device messages over a restart; the zero File keeps none.
	CompletedFile statefile.File
	TwinFile      statefile.File // keeps unconfirmed reported properties over a restart; the zero File keeps none
	InMemory      bool           // TwinFile is read, and removed when hubs have confirmed its content, but not written
	// SyncEvery is the delay until a report is written to TwinFile. Zero means that
	// Report waits for the write, unless InMemory is set.
	SyncEvery time.Duration
	Emit      func(observe.Record)
	Hide      func(text string) string // hides the device's key in a handler's error; nil hides nothing

	// Date returns when a reading was taken, as far as that is known by now, and whether that time is
	// an estimate.
	Date func(outbox.Reading) (taken time.Time, estimated bool)
}

// A Hub is the device's side of the conversation. It holds what outlives a session: pending
// reported properties and running handlers. One goroutine at a time may call Begin, Attach, Work,
// Flush, AwaitAcks, Detach and Release.
type Hub struct {
	settings  Settings
	pool      *pool
	twin      *twin
	methods   *methods
	commands  *commands
	completed *completed
	suspects  *suspects

	session  Session // the current session; nil means that there is none
	device   string
	delivery *delivery       // delivery over the current session
	attached context.Context // for answers that methods.receive sends itself; ends with Detach
	detach   context.CancelFunc
}

// New makes a Hub without a session. The content of TwinFile becomes pending.
func New(s Settings) *Hub {
	s.Delivery, s.Handlers = s.Delivery.WithDefaults(), s.Handlers.WithDefaults()
	h := &Hub{settings: s, pool: newPool(s.Handlers.Timeout, s.Hide), suspects: newSuspects()}
	h.completed = newCompleted(s.CompletedFile)
	h.completed.file.Report = h.writeReporter("completed messages",
		"messages that are delivered again after a restart are handled again")
	r := newReported(s.TwinFile)
	r.file.RemoveOnly, r.file.Delay = s.InMemory, max(0, s.SyncEvery)
	r.file.Report = h.writeReporter("reported properties", "a restart forgets what no hub has confirmed")
	h.twin = &twin{
		reported: r, follows: !s.Off.Has(Desired), warn: h.warn, outdated: make(chan struct{}, 1),
		desired: &desired{
			handler: s.Handlers.Desired, pool: h.pool, reported: r, emit: s.Emit,
			known: knownProperties{},
		},
	}
	h.methods = &methods{handler: s.Handlers.Method, pool: h.pool, emit: s.Emit}
	h.commands = &commands{s.Handlers.Command, h.pool, h.completed, s.Emit, h.warn}
	if s.Off.Has(Commands) {
		h.commands.handler = nil
	}
	if err := r.load(s.Off); err != nil {
		h.warn("", err)
	}
	return h
}

// Begin gives the Hub a session without message handlers, for Flush and AwaitAcks. The readings
// accepted before Begin are the session's backlog.
func (h *Hub) Begin(s Session, deviceID string) {
	h.session, h.device = s, deviceID
	h.delivery = newDelivery(h.settings, h.suspects, s, deviceID)
	h.twin.begin(s)
}

// Attach attaches the message handlers to a session, for Work. It calls Begin for a new session. The
// first call of Attach loads CompletedFile.
func (h *Hub) Attach(s Session, deviceID string) {
	if h.session != s {
		h.Begin(s, deviceID)
	} else {
		h.twin.begin(s)
	}
	if err := h.completed.load(); err != nil {
		h.warn("", err)
	}
	h.attached, h.detach = context.WithCancel(context.Background())
	s.Attach(h.receive)
}

// Detach removes the message handlers from the session, which then holds what the hub sends.
// Running handlers of the program continue.
func (h *Hub) Detach() {
	h.detach()
	h.session.Detach()
}

// Release forgets the session, which must have ended. Readings that were in flight go back into the
// outbox.
func (h *Hub) Release() {
	if h.delivery != nil {
		h.delivery.end()
	}
	h.session, h.delivery = nil, nil
}

// receive passes a message of the hub to the part that its topic names. receive must not block. It
// ignores kinds that are switched off, which come when the hub has kept an older subscription.
func (h *Hub) receive(m transport.Message) bool {
	var err error
	off := h.settings.Off
	switch {
	case strings.HasPrefix(m.Topic, payloads.TwinAnswerPrefix):
		err = h.twin.takeAnswer(m)
	case strings.HasPrefix(m.Topic, payloads.DesiredPrefix):
		if !off.Has(Desired) {
			err = h.twin.takePatch(m)
		}
	case strings.HasPrefix(m.Topic, payloads.MethodPrefix):
		if !off.Has(Methods) {
			err = h.methods.receive(h.attached, h.session, m)
		}
	default:
		h.commands.receive(h.device, m)
		return true
	}
	m.Ack()
	if err != nil {
		h.warn("the hub sent something that cannot be read, or not all of it", err)
	}
	return true
}

// Work subscribes, brings the twin up to date and sends what is pending, until ctx or the session
// ends, subscribing fails, or an acknowledgement is overdue. It returns nil only when ctx has
// ended.
func (h *Hub) Work(ctx context.Context) error {
	err := h.subscribe(ctx)
	if err == nil {
		group, inner := errgroup.WithContext(ctx)
		if !h.settings.Off.Has(Telemetry) {
			group.Go(func() error { return h.delivery.run(inner) })
		}
		if h.usesTwin() {
			group.Go(func() error { h.twin.run(inner); return nil })
		}
		group.Go(func() error {
			select {
			case <-h.session.Ended():
				return h.session.Cause()
			case <-inner.Done():
				return nil
			}
		})
		err = group.Wait()
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// subscribe subscribes to the topics of the kinds that are switched on. If the hub kept the
// session, which may hold older subscriptions, subscribe first unsubscribes from all other topics.
func (h *Hub) subscribe(ctx context.Context) error {
	ctx, cancel := withAnswerTimeout(ctx, h.session)
	defer cancel()
	var on, off []string
	add := func(wanted bool, filter string) {
		if wanted {
			on = append(on, filter)
		} else {
			off = append(off, filter)
		}
	}
	add(h.commands.handler != nil, payloads.CommandFilter(h.device))
	add(!h.settings.Off.Has(Methods), payloads.MethodFilter)
	add(h.usesTwin(), payloads.TwinAnswerFilter)
	add(!h.settings.Off.Has(Desired), payloads.DesiredFilter)
	var err error
	if h.session.SessionPresent() {
		err = h.session.Unsubscribe(ctx, off...)
	}
	if err == nil {
		err = h.session.Subscribe(ctx, 1, on...)
		h.twin.subscribed = err == nil
	}
	if errors.Is(context.Cause(ctx), errNoAnswer) && err != nil {
		err = errNoAnswer // a deadline of the caller's ctx has another cause
	}
	return err
}

func (h *Hub) usesTwin() bool { return !h.settings.Off.Has(Desired) || !h.settings.Off.Has(Reported) }

// Flush sends the pending readings and reported properties without a pace. It returns nil when the
// hub has acknowledged all of them. Meanwhile it handles only answers about the twin; all other
// messages of the hub stay in the session.
func (h *Hub) Flush(ctx context.Context) error {
	if h.session == nil {
		return errors.New("hub: flush: there is no session")
	}
	h.session.Attach(func(m transport.Message) bool {
		return strings.HasPrefix(m.Topic, payloads.TwinAnswerPrefix) && h.receive(m)
	})
	defer h.session.Detach()
	var group errgroup.Group // without a common context, because readings are sent even if the twin fails
	if !h.settings.Off.Has(Telemetry) {
		group.Go(func() error { return h.delivery.flush(ctx) })
	}
	if h.usesTwin() {
		group.Go(func() error { return h.twin.flush(ctx) })
	}
	return group.Wait()
}

// AwaitAcks sends nothing more and waits for the acknowledgements of the readings in flight.
func (h *Hub) AwaitAcks(ctx context.Context) error {
	if h.delivery == nil {
		return nil
	}
	return h.delivery.awaitAcks(ctx)
}

// Acknowledged returns a channel that is closed when the hub has acknowledged a reading in the session that is
// attached.
func (h *Hub) Acknowledged() <-chan struct{} { return h.delivery.acknowledged }

// Owes reports whether a reading that was sent in the latest session, which has ended, has no acknowledgement.
func (h *Hub) Owes() bool { return h.delivery != nil && len(h.delivery.inFlight) > 0 }

// HasAcknowledged reports whether the hub acknowledged a reading in the latest session, which has ended.
func (h *Hub) HasAcknowledged() bool {
	if h.delivery == nil {
		return false
	}
	h.delivery.takeAll()
	return h.delivery.hasAcknowledged()
}

// Report merges reported properties into those that are pending. The newest value of a property
// wins. Report refuses a patch that no hub would accept, or that JSON would change. With a TwinFile,
// a zero SyncEvery and without InMemory, Report returns when the properties are on the disk; if the
// disk cannot be written, they are in memory only. If ctx ends first, Report returns an error, but
// the properties may still be sent.
func (h *Hub) Report(ctx context.Context, patch map[string]any) error {
	r := h.twin.reported
	err := r.report(patch)
	if err == nil {
		h.twin.desired.forgetAcks(patch)
		err = r.file.Await(ctx, r.file.Changed())
	}
	if err != nil {
		return fmt.Errorf("hub: report: %w", err)
	}
	return nil
}

// End makes Report refuse further patches, and writes the files a last time. It returns how many
// reported properties and acknowledgements no hub has confirmed, and whether TwinFile holds them.
func (h *Hub) End() (unconfirmed int, kept bool) {
	h.completed.file.Close()
	return h.twin.reported.end()
}

// Close ends the contexts of the handlers and waits until the handlers have returned. Its error
// names those that have not returned when ctx ends.
func (h *Hub) Close(ctx context.Context) error { return h.pool.close(ctx) }

// writeReporter returns a function that warns when a file cannot be written, with the consequence,
// and that reports when the file can be written again.
func (h *Hub) writeReporter(what, consequence string) func(error) {
	return func(err error) {
		if err == nil {
			h.warn("", fmt.Errorf("hub: the %s can be stored again", what))
			return
		}
		advice := statefile.Advice(err, "make room, or make the state directory writable")
		h.warn("", fmt.Errorf("hub: store the %s: %w; %s; until then %s", what, err, advice, consequence))
	}
}

func (h *Hub) warn(message string, err error) {
	h.settings.Emit(observe.Record{Level: observe.Warn, Kind: observe.Warning, Message: message, Error: err.Error()})
}
