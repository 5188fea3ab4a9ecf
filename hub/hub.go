// Package hub is what a device and its hub say to each other over one session: telemetry, the device twin, direct
// methods and commands.
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
	Reported        // reported properties; acknowledgements belong to Desired
	Desired         // desired properties
	Methods         // direct methods
	Commands        // cloud-to-device messages
)

// Has tells whether any of other is in the set.
func (k Kinds) Has(other Kinds) bool { return k&other != 0 }

// Settings are what a Hub needs for the life of its device.
type Settings struct {
	Handlers      Handlers
	Off           Kinds // switched off
	Outbox        outbox.Outbox
	Delivery      Delivery
	CompletedFile statefile.File // optional: remembers over a restart which cloud-to-device messages have been completed
	TwinFile      statefile.File // optional: keeps over a restart what is reported and answered until a hub has confirmed it
	InMemory      bool           // TwinFile is read, and removed when hubs have confirmed what is in it, but not written
	SyncEvery     time.Duration  // 0: Report waits until TwinFile has it; else the file has it after so long
	Emit          func(observe.Record)
	Hide          func(text string) string // optional: takes the device's key out of what a handler says

	// Date is when a reading was taken, as far as that is known by now, and whether it is an estimate.
	Date func(outbox.Reading) (taken time.Time, estimated bool)
}

// answerTimeout bounds a request to the hub and a SUBACK: what travels at QoS 0 may never be answered.
const answerTimeout = 10 * time.Second

// A Hub is the device's side of the conversation. What must outlive a session lives in it: reported properties that
// wait, handlers that run. Attach, Work, Flush, Detach and Release are for one goroutine at a time, the machine's.
type Hub struct {
	Settings
	pool      *pool
	twin      *twin
	suspects  *suspects
	completed *completed
	session   Session
	device    string
	delivery  *delivery

	attached context.Context // ends with Detach
	detach   context.CancelFunc
}

// New makes a Hub without a session. What TwinFile holds waits again.
func New(s Settings) *Hub {
	s.Delivery, s.Handlers = s.Delivery.WithDefaults(), s.Handlers.WithDefaults()
	h := &Hub{Settings: s, pool: newPool(s.Handlers.Timeout), suspects: newSuspects(), completed: newCompleted(s.CompletedFile)}
	if s.Hide != nil {
		h.pool.hide = s.Hide
	}
	h.twin = newTwin(h)
	if err := h.twin.reports.load(); err != nil {
		h.warn("", err)
	}
	return h
}

// Work subscribes, brings the twin up to date and sends what waits, until ctx or the session ends or the hub refuses
// something without which a device cannot live. It returns nil only when ctx has ended.
func (h *Hub) Work(ctx context.Context) error {
	err := h.subscribe(ctx)
	if err == nil {
		group, inner := errgroup.WithContext(ctx)
		if !h.Off.Has(Telemetry) {
			group.Go(func() error { return h.delivery.run(inner) })
		}
		group.Go(func() error { h.twin.run(inner, h.session); return nil })
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

// Flush sends what waits, unpaced, and returns nil when a hub has acknowledged all of it, else why not.
// The handlers stay detached: what else arrives is held.
func (h *Hub) Flush(ctx context.Context) error {
	if h.session == nil {
		return errors.New("hub: flush: there is no session")
	}
	h.session.Attach(func(m transport.Message) bool {
		return strings.HasPrefix(m.Topic, payloads.TwinAnswerPrefix) && h.receive(m)
	})
	defer h.session.Detach()
	var group errgroup.Group // a twin that a hub does not give must not cost the telemetry
	if !h.Off.Has(Telemetry) {
		group.Go(func() error { return h.delivery.flush(ctx) })
	}
	group.Go(func() error { return h.twin.flush(ctx, h.session) })
	return group.Wait()
}

// AwaitAcks sends nothing more and waits for the acknowledgements of the readings in flight.
func (h *Hub) AwaitAcks(ctx context.Context) error {
	if h.delivery == nil {
		return nil
	}
	return h.delivery.awaitAcks(ctx)
}

// Release forgets the session, which has ended. What was on its way goes back into the outbox.
func (h *Hub) Release() {
	if h.delivery != nil {
		h.delivery.end()
	}
	h.session, h.delivery = nil, nil
}

// Report merges reported properties into those that wait to be sent. The newest value of a property wins. A patch
// that would be changed on its way is refused. With a TwinFile it returns when they are safe; on a disk that cannot
// be written they are in memory alone. When ctx ends before that they may be sent all the same.
func (h *Hub) Report(ctx context.Context, patch map[string]any) error {
	r := h.twin.reports
	if err := r.add(patch); err != nil {
		return err
	}
	h.twin.desired.overrule(patch)
	if err := r.kept.await(ctx, r.kept.change()); err != nil {
		return fmt.Errorf("hub: report: %w", err)
	}
	return nil
}

// End accepts no more reports, writes TwinFile a last time and leaves it to whoever has the state directory next. It counts the
// reported properties, and the answers to desired ones, that no hub has confirmed, and tells whether the file has them.
func (h *Hub) End() (unconfirmed int, kept bool) { return h.twin.reports.end() }

// Close waits for the handlers that run, whose contexts it ends, and names those that do not return before ctx ends.
func (h *Hub) Close(ctx context.Context) error { return h.pool.close(ctx) }

// subscribe asks for what is switched on. A hub that kept the device's session may still hold what is switched off.
func (h *Hub) subscribe(ctx context.Context) error {
	ctx, cancel := bounded(ctx, h.session)
	defer cancel()
	var on, off []string
	sort := func(wanted bool, filter string) {
		if wanted {
			on = append(on, filter)
		} else {
			off = append(off, filter)
		}
	}
	sort(!h.Off.Has(Commands) && h.Handlers.Command != nil, payloads.CommandFilter(h.device))
	sort(!h.Off.Has(Methods), payloads.MethodFilter)
	sort(h.usesTwin(), payloads.TwinAnswerFilter)
	sort(!h.Off.Has(Desired), payloads.DesiredFilter)
	if h.session.SessionPresent() {
		if err := h.session.Unsubscribe(ctx, off...); err != nil {
			return timedOut(ctx, err)
		}
	}
	err := h.session.Subscribe(ctx, 1, on...)
	h.twin.audible = err == nil
	return timedOut(ctx, err)
}

func (h *Hub) usesTwin() bool { return !h.Off.Has(Desired) || !h.Off.Has(Reported) }

// timedOut gives an error that stems from our own deadline its reason.
func timedOut(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return &transport.Error{Reason: transport.TimedOut, Host: "hub", Err: errors.New("no answer in time")}
	}
	return err
}

func (h *Hub) warn(message string, err error) {
	h.Emit(observe.Record{Level: observe.Warn, Kind: observe.Warning, Message: message, Error: err.Error()})
}
