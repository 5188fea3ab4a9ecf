package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/transport"
)

// The properties that a device adds to a reading.
const (
	// BacklogProperty is "backlog" in a reading that was accepted before the session that delivers
	// it began.
	BacklogProperty = "failover-lane"
	// ClockProperty is "estimated" in a reading that was accepted before the wall clock was set:
	// its creation time was computed later.
	ClockProperty = "clock"
)

// maxBytesInFlight is the size of the bodies in flight from which on no other reading is sent. With
// more, the last one would wait for its acknowledgement, and a ping for its answer, for minutes on
// a slow link.
const maxBytesInFlight = 128 << 10

// A delivery sends the readings of an outbox over one session. There are two lanes, each in the
// order of the numbers: the live readings, which were accepted since the session began, go first;
// the backlog follows at its own pace.
type delivery struct {
	settings Delivery
	outbox   outbox.Outbox
	suspects *suspects // they outlive the session
	date     func(outbox.Reading) (taken time.Time, estimated bool)
	emit     func(observe.Record)

	session     Session
	device      string
	began       time.Time
	backlogEnd  uint64              // the newest number of the backlog
	nextBacklog time.Time           // when the pace allows another reading of the backlog
	inFlight    map[uint64]inFlight // by number
	bytes       int                 // of the bodies in flight
	sent        []uint64            // in the order of sending; what is not in flight any more leaves it late
	withheld    uint64              // the suspect that the outbox has handed out; 0 means none
	timer       *time.Timer         // the limit of the latest wait
	results     chan publishResult  // has room for the whole window, so that the session never waits
}

type inFlight struct {
	id     string
	size   int
	sentAt time.Time
}

type publishResult struct {
	number uint64
	err    error // nil means PUBACK
}

func newDelivery(s Settings, suspected *suspects, session Session, device string) *delivery {
	return &delivery{
		settings: s.Delivery, outbox: s.Outbox, date: s.Date, emit: s.Emit, suspects: suspected,
		session: session, device: device, began: time.Now(), backlogEnd: s.Outbox.Last(),
		inFlight: map[uint64]inFlight{}, results: make(chan publishResult, s.Delivery.Window), timer: time.NewTimer(0),
	}
}

// run sends until ctx or the session ends. What is in flight then remains so for flush, awaitAcks
// or end.
func (d *delivery) run(ctx context.Context) error {
	if d.suspects.window(2) == 1 { // sendNext does not look at the backlog while there are live readings
		if oldest, ok := d.peekAny(0); ok {
			d.outbox.Leave(oldest.ID.N)
		}
	}
	for ctx.Err() == nil {
		d.retrySuspect()
		sent, err := d.sendNext(ctx, false)
		if err == nil && !sent {
			err = d.wait(ctx, d.outbox.Changed(), d.idleTime())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// idleTime returns how long there is nothing to do unless something happens.
func (d *delivery) idleTime() time.Duration {
	wait := d.untilOverdue()
	if pace := time.Until(d.nextBacklog); pace > 0 {
		wait = min(wait, pace)
	}
	if at, ok := d.suspects.retryAt(d.began, d.onlySuspectLeft()); ok {
		wait = min(wait, max(0, time.Until(at)))
	}
	return wait
}

// onlySuspectLeft reports whether nothing but a suspect is left to send.
func (d *delivery) onlySuspectLeft() bool {
	return len(d.inFlight) == 0 && d.withheld > 0 && !time.Now().Before(d.nextBacklog)
}

// retrySuspect has the suspect sent again if it is time for that.
func (d *delivery) retrySuspect() {
	if at, ok := d.suspects.retryAt(d.began, d.onlySuspectLeft()); ok && !time.Now().Before(at) {
		d.suspects.retry()
		d.releaseWithheld()
	}
}

// oldest returns the reading that has been in flight for the longest.
func (d *delivery) oldest() (inFlight, bool) {
	for len(d.sent) > 0 {
		if r, ok := d.inFlight[d.sent[0]]; ok {
			return r, true
		}
		d.sent = d.sent[1:]
	}
	return inFlight{}, false
}

// untilOverdue returns the time until the oldest reading in flight is overdue.
func (d *delivery) untilOverdue() time.Duration {
	oldest, ok := d.oldest()
	if !ok {
		return d.settings.AckTimeout
	}
	return d.settings.AckTimeout - time.Since(oldest.sentAt)
}

// flush sends everything without a pace, live readings first, and waits for every acknowledgement.
func (d *delivery) flush(ctx context.Context) error {
	for {
		unsynced := d.outbox.RequestSync() // asked first, or a reading that becomes ready in between would be missed
		sent, err := d.sendNext(ctx, true)
		if err == nil && !sent {
			if len(d.inFlight) == 0 && !unsynced {
				return nil
			}
			err = d.wait(ctx, d.outbox.Changed(), d.untilOverdue())
		}
		if err != nil {
			return err
		}
	}
}

// awaitAcks sends nothing more and waits until nothing is in flight.
func (d *delivery) awaitAcks(ctx context.Context) error {
	for len(d.inFlight) > 0 {
		if err := d.wait(ctx, nil, d.untilOverdue()); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until a publish has a result, the outbox has changed, or a time has passed. It returns
// an error if an acknowledgement is overdue: the hub, although it answers pings, acknowledges nothing.
// The timeout is long because a hub that throttles acknowledges late.
func (d *delivery) wait(ctx context.Context, changed <-chan struct{}, limit time.Duration) error {
	if d.untilOverdue() <= 0 && len(d.results) == 0 { // an acknowledgement may have come while nobody worked
		return &transport.Error{
			Reason: transport.AckOverdue, Host: d.session.Host(),
			Err: fmt.Errorf("a reading has had no acknowledgement for %s", d.settings.AckTimeout),
		}
	}
	if d.isFull() {
		changed = nil
	}
	d.timer.Reset(limit)
	select {
	case r := <-d.results:
		return d.take(r)
	case <-changed:
		return nil
	case <-d.timer.C:
		return nil
	case <-d.session.Ended():
		return d.session.Cause()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendNext sends one reading if there is one, and the window and the pace allow it. It reports
// whether it did.
func (d *delivery) sendNext(ctx context.Context, unpaced bool) (bool, error) {
	if d.isFull() {
		return false, nil
	}
	var r outbox.Reading
	ok := false
	if !d.settings.InOrder {
		r, ok = d.peek(d.backlogEnd)
	}
	if !ok && (unpaced || !time.Now().Before(d.nextBacklog)) {
		if r, ok = d.peek(0); ok && d.isBacklog(r) && !d.settings.Unpaced {
			d.nextBacklog = time.Now().Add(time.Duration(float64(time.Second) / d.settings.DrainRate))
		}
	}
	if !ok {
		return false, nil
	}
	n, id := r.ID.N, r.ID.String()
	done := func(err error) { d.results <- publishResult{n, err} }
	if err := d.session.Publish(ctx, d.topic(r, id), 1, r.Reading.Body, done); err != nil {
		d.outbox.Leave(n)
		return false, err
	}
	d.inFlight[n] = inFlight{id, len(r.Reading.Body), time.Now()}
	d.bytes += len(r.Reading.Body)
	d.sent = append(d.sent, n)
	return true, nil
}

// isFull reports whether an acknowledgement must come before another reading may be sent.
func (d *delivery) isFull() bool {
	return len(d.inFlight) >= d.suspects.window(d.settings.Window) || d.bytes >= maxBytesInFlight
}

func (d *delivery) isBacklog(r outbox.Reading) bool { return r.ID.N <= d.backlogEnd }

// peek takes the next reading above a number out of the outbox, and withholds the suspect.
func (d *delivery) peek(after uint64) (outbox.Reading, bool) {
	r, ok := d.peekAny(after)
	if ok && d.suspects.isWithheld(r.ID.N) {
		d.withheld = r.ID.N
		return d.peekAny(after)
	}
	return r, ok
}

// peekAny takes the next reading above a number out of the outbox. Those that it skips are in
// flight, or the outbox has dropped them, and the suspects forget them.
func (d *delivery) peekAny(after uint64) (outbox.Reading, bool) {
	r, ok := d.outbox.Peek(after)
	d.suspects.forgetDropped(after, r.ID.N, func(n uint64) bool {
		_, isInFlight := d.inFlight[n]
		return isInFlight || n == d.withheld
	})
	return r, ok
}

// topic dates a reading and adds the device's properties, for which payloads has left room in a
// reading's size.
func (d *delivery) topic(r outbox.Reading, id string) string {
	reading := r.Reading
	taken, estimated := d.date(r)
	if reading.Taken = taken; estimated || d.isBacklog(r) {
		reading.Properties = clone(reading.Properties)
	}
	if estimated {
		reading.Properties[ClockProperty] = "estimated"
	}
	if d.isBacklog(r) {
		reading.Properties[BacklogProperty] = "backlog"
	}
	return reading.Topic(d.device, id)
}

// take removes a reading that was acknowledged from the outbox. A reading whose publish failed
// stays in flight until end; its error ends the session.
func (d *delivery) take(r publishResult) error {
	reading, ok := d.inFlight[r.number]
	if !ok || r.err != nil {
		return r.err
	}
	delete(d.inFlight, r.number)
	d.bytes -= reading.size
	d.outbox.Remove(r.number)
	if d.suspects.acknowledged(r.number, time.Since(d.began)) {
		d.releaseWithheld()
	}
	d.emit(observe.Record{Level: observe.Debug, Kind: observe.Delivered, ID: reading.id, Hub: d.session.Host()})
	return nil
}

// end gives what is still in flight back to the outbox when the session has ended. The hub may have
// it nevertheless, and then gets it twice.
func (d *delivery) end() {
	for len(d.results) > 0 {
		_ = d.take(<-d.results) // the session has ended already
	}
	poison, found := d.suspects.sessionEnded(d.session.Cause(), slices.Collect(maps.Keys(d.inFlight)))
	for n := range d.inFlight {
		if found && n == poison {
			d.outbox.Quarantine(n, errEndsSessions)
		} else {
			d.outbox.Leave(n)
		}
	}
	clear(d.inFlight)
	d.bytes = 0
	d.releaseWithheld()
}

// releaseWithheld gives the suspect that is withheld to the outbox, which hands it out again.
func (d *delivery) releaseWithheld() {
	if d.withheld > 0 {
		d.outbox.Leave(d.withheld)
		d.withheld = 0
	}
}
