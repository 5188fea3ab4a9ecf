package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// The properties that a device adds to a reading.
const (
	// BacklogProperty has the value "backlog" in a reading that the device accepted before the session
	// that delivers the reading began.
	BacklogProperty = payloads.BacklogProperty
	// ClockProperty has the value "estimated" in a reading that the device accepted before the wall
	// clock was set: the device computed the creation time later.
	ClockProperty = payloads.ClockProperty
)

// maxBytesInFlight is the total size of the bodies in flight from which on no other reading is
// sent. With more bytes in flight, the last reading would wait for its acknowledgement, and a ping
// for its answer, for minutes on a slow link.
const maxBytesInFlight = 128 << 10

// A delivery sends the readings of an outbox over one session. There are two lanes, each in the
// order of the numbers: the live readings, which were accepted since the session began, go first;
// the backlog follows at its own pace.
type delivery struct {
	settings Delivery
	outbox   outbox.Outbox
	suspects *suspects // shared by all sessions of the device
	date     func(outbox.Reading) (taken time.Time, estimated bool)
	emit     func(observe.Record)

	session      Session
	device       string
	began        time.Time
	backlogEnd   uint64              // number of the newest reading of the backlog
	nextBacklog  time.Time           // time from which the pace allows the next reading of the backlog
	inFlight     map[uint64]inFlight // readings in flight, by number
	bytes        int                 // total size of the bodies in flight
	sent         []uint64            // numbers in the order of sending; those no longer in flight are removed later
	acknowledged chan struct{}       // closed when the hub has acknowledged a reading in this session
	withheld     uint64              // number of the suspect if it was taken from the outbox and not sent; 0 means none
	unseen       []uint64            // numbers that suspects knows and peekAny has not passed, in order
	timer        *time.Timer         // fires at the limit of the latest wait
	results      chan publishResult  // buffered for the whole window, so that the session never blocks
}

type inFlight struct {
	id     string
	size   int
	sentAt time.Time
}

type publishResult struct {
	number uint64
	err    error // nil means that the hub sent PUBACK
}

func newDelivery(s Settings, suspected *suspects, session Session, device string) *delivery {
	return &delivery{
		settings: s.Delivery, outbox: s.Outbox, date: s.Date, emit: s.Emit, suspects: suspected,
		session: session, device: device, began: time.Now(), backlogEnd: s.Outbox.Last(), unseen: suspected.numbers(),
		acknowledged: make(chan struct{}), inFlight: map[uint64]inFlight{},
		results: make(chan publishResult, s.Delivery.Window), timer: time.NewTimer(0),
	}
}

// run sends readings until ctx or the session ends. Readings that are then in flight stay in flight
// for flush, awaitAcks or end.
func (d *delivery) run(ctx context.Context) error {
	if d.suspects.window(2) == 1 { // peekAny makes suspects forget dropped readings; sendNext may skip the backlog
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

// idleTime returns how long delivery has nothing to do if no event comes.
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

// retrySuspect releases the withheld suspect, so that it is sent again, if the time for that has
// come.
func (d *delivery) retrySuspect() {
	if at, ok := d.suspects.retryAt(d.began, d.onlySuspectLeft()); ok && !time.Now().Before(at) {
		if d.suspects.retry() {
			d.warnAlone()
		}
		d.releaseWithheld()
	}
}

// warnAlone reports that nothing shows whether the suspect or the hub is at fault.
func (d *delivery) warnAlone() {
	d.emit(observe.Record{
		Level: observe.Warn, Kind: observe.Warning, Hub: d.session.Host(),
		Error: fmt.Sprintf("hub: the hub has ended each session in which the device sent its only reading, number %d: "+
			"the hub may have used up its quota of messages for the day, or it refuses this reading; "+
			"the device sends the reading again after longer and longer waits", d.withheld),
	})
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

// flush sends all readings of the outbox without a pace, live readings first, and waits for every
// acknowledgement.
func (d *delivery) flush(ctx context.Context) error {
	for {
		unsynced := d.outbox.RequestSync() // before sendNext, so that a reading synced in between is not missed
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

// awaitAcks sends nothing more and waits until no reading is in flight.
func (d *delivery) awaitAcks(ctx context.Context) error {
	for len(d.inFlight) > 0 {
		if err := d.wait(ctx, nil, d.untilOverdue()); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until a publish has a result, the outbox has changed, or limit has passed. It returns
// an error if an acknowledgement is overdue: a hub that answers pings may still acknowledge
// nothing. AckTimeout is long because a hub that throttles acknowledges late.
func (d *delivery) wait(ctx context.Context, changed <-chan struct{}, limit time.Duration) error {
	if d.untilOverdue() <= 0 && len(d.results) == 0 { // results may hold an acknowledgement that came between two waits
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
// whether it sent one, or quarantined one that cannot be sent.
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
		if d.session.Cause() != nil || ctx.Err() != nil {
			d.outbox.Leave(n)
			return false, err
		}
		// No session would take this reading.
		d.outbox.Quarantine(n, err)
		d.suspects.forget(n)
		return true, nil
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

// peek returns the next reading of the outbox with a number above after. If that is the suspect and
// must be withheld, peek withholds it and returns the reading behind it.
func (d *delivery) peek(after uint64) (outbox.Reading, bool) {
	r, ok := d.peekAny(after)
	if ok && d.suspects.isWithheld(r.ID.N) {
		d.withheld = r.ID.N
		return d.peekAny(after)
	}
	return r, ok
}

// peekAny returns the next reading of the outbox with a number above after, even if it is the
// suspect. A reading that the outbox skips is in flight, withheld or dropped; suspects forgets the
// dropped ones. All readings that suspects knows are in the backlog.
func (d *delivery) peekAny(after uint64) (outbox.Reading, bool) {
	r, ok := d.outbox.Peek(after)
	for after == 0 && len(d.unseen) > 0 && (!ok || d.unseen[0] < r.ID.N) {
		n := d.unseen[0]
		d.unseen = d.unseen[1:]
		if _, isInFlight := d.inFlight[n]; !isInFlight && n != d.withheld {
			d.suspects.forget(n)
		}
	}
	return r, ok
}

// topic returns the topic of a reading, with its date and the properties that the device adds.
// payloads reserves bytes for these properties when it checks the size of a reading.
func (d *delivery) topic(r outbox.Reading, id string) string {
	reading := r.Reading
	taken, estimated := d.date(r)
	reading.Taken = taken
	backlog := d.isBacklog(r)
	if estimated || backlog {
		reading.Properties = clone(reading.Properties)
	}
	if estimated {
		reading.Properties[ClockProperty] = payloads.Estimated
	}
	if backlog {
		reading.Properties[BacklogProperty] = payloads.Backlog
	}
	return reading.Topic(d.device, id)
}

// take removes an acknowledged reading from the outbox. If the publish failed, take returns its
// error, and the reading stays in flight until end.
func (d *delivery) take(r publishResult) error {
	reading, ok := d.inFlight[r.number]
	if !ok || r.err != nil {
		return r.err
	}
	if !d.hasAcknowledged() {
		close(d.acknowledged)
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

func (d *delivery) hasAcknowledged() bool {
	select {
	case <-d.acknowledged:
		return true
	default:
		return false
	}
}

// takeAll takes the results that have arrived.
func (d *delivery) takeAll() {
	for len(d.results) > 0 {
		_ = d.take(<-d.results) // an error ends the session, which the caller notices
	}
}

// end gives the readings still in flight back to the outbox after the session has ended. The hub
// may already have such a reading, and then receives it twice.
func (d *delivery) end() {
	d.takeAll()
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

// releaseWithheld gives the withheld suspect back to the outbox, which hands it out again.
func (d *delivery) releaseWithheld() {
	if d.withheld > 0 {
		d.outbox.Leave(d.withheld)
		d.unseen = slices.Insert(d.unseen, 0, d.withheld) // the numbers left in unseen are higher
		d.withheld = 0
	}
}
