package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/transport"
)

// telemetry returns settings with nothing but telemetry.
func telemetry(d Delivery) Settings {
	return Settings{Off: Reported | Desired | Methods | Commands, Delivery: d}
}

// acks acknowledges every reading at once.
func acks(p publish) { p.done(nil) }

func TestLiveReadingsAreSentBeforeTheBacklogWhichIsPaced(t *testing.T) {
	bubble(t, telemetry(Delivery{DrainRate: 2}), func(t *testing.T, w *world) {
		began := time.Now()
		w.put(3, 1)
		w.connect(acks)
		w.put(2, 1)
		time.Sleep(600 * time.Millisecond)
		w.put(1, 1)
		time.Sleep(time.Minute)
		w.want("sent", w.sent(began), "1b+0 4+0 5+0 2b+0.5 6+0.6 3b+1")
	})
}

func TestUnpacedBacklogIsSentAtOnce(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		began := time.Now()
		w.put(4, 1)
		w.connect(acks)
		w.want("sent", w.sent(began), "1b+0 2b+0 3b+0 4b+0")
	})
}

func TestReadingsInOrderWaitForTheBacklog(t *testing.T) {
	bubble(t, telemetry(Delivery{InOrder: true, DrainRate: 1}), func(t *testing.T, w *world) {
		began := time.Now()
		w.put(2, 1)
		w.connect(acks)
		w.put(2, 1)
		time.Sleep(time.Minute)
		w.want("sent", w.sent(began), "1b+0 2b+1 3+2 4+2")
	})
}

func TestOnlyAWindowOfReadingsIsInFlight(t *testing.T) {
	bubble(t, telemetry(Delivery{Window: 3, DrainRate: 1000}), func(t *testing.T, w *world) {
		began := time.Now()
		s := w.connect(nil)
		w.put(6, 1)
		w.want("sent", w.sent(began), "1+0 2+0 3+0")
		time.Sleep(time.Second)
		s.nth(1).done(nil)
		synctest.Wait()
		w.want("after one acknowledgement", w.sent(began), "1+0 2+0 3+0 4+1")
		time.Sleep(time.Second)
		s.nth(0).done(nil)
		s.nth(2).done(nil)
		synctest.Wait()
		w.want("after two more", w.sent(began), "1+0 2+0 3+0 4+1 5+2 6+2")
	})
}

func TestBytesInFlightAreBounded(t *testing.T) {
	bubble(t, telemetry(Delivery{}), func(t *testing.T, w *world) {
		began := time.Now()
		s := w.connect(nil)
		w.put(2, maxBytesInFlight/2)
		w.put(1, 1)
		w.want("sent", w.sent(began), "1+0 2+0")
		s.nth(0).done(nil)
		synctest.Wait()
		w.want("after an acknowledgement", w.sent(began), "1+0 2+0 3+0")
		w.put(1, maxBytesInFlight/2-2)
		w.put(2, 1)
		w.want("a byte below the bound", w.sent(began), "1+0 2+0 3+0 4+0 5+0")
	})
}

func TestAcknowledgedReadingsLeaveTheOutboxAndAreRecorded(t *testing.T) {
	bubble(t, telemetry(Delivery{}), func(t *testing.T, w *world) {
		w.connect(acks)
		w.put(2, 1)
		if n, _ := w.box.Pending(); n != 0 {
			t.Errorf("%d readings are pending", n)
		}
		records := w.recorded(observe.Delivered)
		if len(records) != 2 || !strings.HasSuffix(records[1], "-2 hub-a 0") {
			t.Errorf("recorded %q", records)
		}
	})
}

func TestOverdueAcknowledgementEndsTheWork(t *testing.T) {
	bubble(t, telemetry(Delivery{AckTimeout: 10 * time.Second}), func(t *testing.T, w *world) {
		s := w.connect(nil)
		w.put(1, 1)
		time.Sleep(3 * time.Second)
		w.put(1, 1)
		time.Sleep(3 * time.Second)
		w.put(1, 1)
		s.nth(0).done(nil)
		s.nth(2).done(nil)
		began := time.Now()
		err := w.worked()
		if transport.ReasonOf(err) != transport.AckOverdue || time.Since(began) != 7*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		w.want("the error", fmt.Sprint(err),
			"transport: hub-a: ack-overdue: a reading has had no acknowledgement for 10s")
	})
}

// The device may have slept, or been in another state.
func TestAcknowledgementThatCameWhileNobodyWorkedIsNotOverdue(t *testing.T) {
	bubble(t, telemetry(Delivery{AckTimeout: 10 * time.Second}), func(t *testing.T, w *world) {
		s := w.connect(nil)
		w.put(2, 1)
		if err := w.pause(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		s.nth(0).done(nil)
		s.nth(1).done(nil)
		w.work()
		time.Sleep(time.Hour)
		if n, _ := w.box.Pending(); n != 0 || len(w.works) > 0 {
			t.Errorf("%d readings are pending, %d errors", n, len(w.works))
		}
	})
}

func TestReadingsThatWereInFlightAreSentAgainOnTheNextSession(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		s := w.connect(nil)
		w.put(4, 1)
		s.nth(1).done(errors.New("not known")) // also ends the work
		s.nth(2).done(nil)
		if err := w.worked(); err == nil || err.Error() != "not known" {
			t.Error(err)
		}
		s.nth(3).done(nil) // arrives with the end
		w.disconnect(transport.Silence)
		if s.nth(0).done(nil); len(w.recorded(observe.Delivered)) != 2 { // too late
			t.Error("two readings were acknowledged")
		}
		began := time.Now()
		w.connect(acks)
		w.want("sent", w.sent(began), "1b+0 2b+0")
	})
}

func TestReadingThatAnEndedSessionDoesNotTakeGoesBackIntoTheOutbox(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		s := w.connect(nil)
		s.refuseBy(func(string) error {
			if s.Cause() == nil {
				s.end(transport.Silence)
			}
			return s.Cause()
		})
		w.put(1, 1)
		if err := w.worked(); transport.ReasonOf(err) != transport.Silence {
			t.Error(err)
		}
		if err := w.Flush(t.Context()); transport.ReasonOf(err) != transport.Silence {
			t.Errorf("flush: %v", err)
		}
		w.Release()
		began := time.Now()
		w.connect(acks)
		w.want("sent", w.sent(began), "1b+0")
	})
}

func TestReadingThatNoSessionTakesIsQuarantined(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		s := w.connect(acks)
		refused := 0
		s.refuseBy(func(string) error {
			if refused++; refused > 2 {
				return nil
			}
			return errors.New("the topic has 65,536 bytes")
		})
		began := time.Now()
		w.put(4, 1)
		w.want("sent", w.sent(began), "3+0 4+0")
		w.want("quarantined", strings.Join(w.drops, ", "), "1 quarantined, 2 quarantined")
		if n, _ := w.box.Pending(); n != 0 {
			t.Errorf("%d readings are pending", n)
		}
		if err := w.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWorkEndsWithTheSessionOrWithNilByItsContext(t *testing.T) {
	for _, off := range []Kinds{0, Telemetry} {
		s := telemetry(Delivery{})
		s.Off |= off
		bubble(t, s, func(t *testing.T, w *world) {
			w.connect(nil)
			if err := w.pause(); err != nil {
				t.Error(err)
			}
			w.work()
			if err := w.disconnect(transport.Silence); transport.ReasonOf(err) != transport.Silence {
				t.Error(err)
			}
		})
	}
}

func TestReadingsOfUnknownTimeAreMarked(t *testing.T) {
	s := telemetry(Delivery{Unpaced: true})
	s.Date = func(r outbox.Reading) (time.Time, bool) { return time.Unix(0, 0), r.ID.N%2 == 0 }
	bubble(t, s, func(t *testing.T, w *world) {
		w.put(2, 1)
		session := w.connect(acks)
		w.put(2, 1)
		const backlog, estimated = "&failover-lane=backlog", "&clock=estimated"
		for i, want := range []string{backlog, estimated + backlog, "", estimated} {
			_, got, _ := strings.Cut(session.nth(i).topic, "iothub-creation-time-utc=")
			w.want(fmt.Sprint("reading ", i+1), got, "1970-01-01T00%3A00%3A00.000Z"+want)
		}
	})
}

func TestFlushSendsEverythingUnpacedAndWaitsForTheAcknowledgements(t *testing.T) {
	bubble(t, telemetry(Delivery{Window: 2, DrainRate: 0.001}), func(t *testing.T, w *world) {
		w.put(3, 1)
		s := w.connect(nil)
		w.put(1, 1)
		w.pause()
		began := time.Now()
		time.AfterFunc(time.Second, func() {
			s.follow(acks)
			s.nth(1).done(nil)
			s.nth(0).done(nil)
		})
		if err := w.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if n, _ := w.box.Pending(); n != 0 || time.Since(began) != time.Second {
			t.Errorf("%d readings are pending after %s", n, time.Since(began))
		}
	})
}

func TestFlushAndAwaitAcksEndWithTheirContextOrTheSession(t *testing.T) {
	for name, wait := range map[string]func(*world, context.Context) error{
		"flush":     func(w *world, ctx context.Context) error { return w.Flush(ctx) },
		"AwaitAcks": func(w *world, ctx context.Context) error { return w.AwaitAcks(ctx) },
	} {
		bubble(t, telemetry(Delivery{}), func(t *testing.T, w *world) {
			s := w.connect(nil)
			w.put(1, 1)
			w.pause()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := wait(w, ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
			s.end(transport.Reset)
			if err := wait(w, t.Context()); transport.ReasonOf(err) != transport.Reset {
				t.Errorf("%s: %v", name, err)
			}
			w.Release()
		})
	}
}

func TestFlushAndAwaitAcksEndWhenAnAcknowledgementIsOverdue(t *testing.T) {
	for name, wait := range map[string]func(*world) error{
		"flush":     func(w *world) error { return w.Flush(context.Background()) },
		"AwaitAcks": func(w *world) error { return w.AwaitAcks(context.Background()) },
	} {
		bubble(t, telemetry(Delivery{AckTimeout: 10 * time.Second}), func(t *testing.T, w *world) {
			s := w.connect(nil)
			w.put(1, 1)
			time.Sleep(4 * time.Second)
			w.put(1, 1)
			w.pause()
			time.AfterFunc(time.Second, func() { s.nth(0).done(nil) })
			began := time.Now()
			if err := wait(w); transport.ReasonOf(err) != transport.AckOverdue || time.Since(began) != 10*time.Second {
				t.Errorf("%s: after %s: %v", name, time.Since(began), err)
			}
		})
	}
}

func TestAwaitAcksSendsNothing(t *testing.T) {
	bubble(t, telemetry(Delivery{Window: 1}), func(t *testing.T, w *world) {
		if err := w.AwaitAcks(t.Context()); err != nil {
			t.Errorf("without a session: %v", err)
		}
		s := w.connect(nil)
		w.put(2, 1)
		w.pause()
		time.AfterFunc(time.Second, func() { s.nth(0).done(nil) })
		if err := w.AwaitAcks(t.Context()); err != nil || len(s.published) != 1 {
			t.Errorf("%v, and %d readings were sent", err, len(s.published))
		}
		s.follow(acks)
	})
}

// An outbox whose readings are not on the disk yet.
type unsyncedBox struct {
	*outbox.Memory
	synced atomic.Bool
}

func (b *unsyncedBox) RequestSync() bool { return !b.synced.Load() }

func TestFlushWaitsForReadingsThatAreNotOnTheDiskYet(t *testing.T) {
	box := &unsyncedBox{}
	s := telemetry(Delivery{})
	s.Outbox = box
	synctest.Test(t, func(t *testing.T) {
		box.Memory = outbox.NewMemory(outbox.Options{})
		s.Date = func(r outbox.Reading) (time.Time, bool) { return r.Taken, false }
		s.Emit = func(observe.Record) {}
		w := &world{t: t, box: box.Memory, Hub: New(s)}
		w.connect(acks)
		w.pause()
		began := time.Now()
		time.AfterFunc(time.Second, func() {
			box.synced.Store(true)
			w.accept(1, 1)
		})
		if err := w.Flush(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		w.want("sent", w.sent(began), "1+1")
	})
}

func TestTelemetryThatIsSwitchedOffIsNotSent(t *testing.T) {
	s := telemetry(Delivery{})
	s.Off |= Telemetry
	bubble(t, s, func(t *testing.T, w *world) {
		if err := w.Flush(t.Context()); err == nil || err.Error() != "hub: flush: there is no session" {
			t.Error(err)
		}
		began := time.Now()
		w.put(1, 1)
		w.connect(acks)
		w.pause()
		if err := w.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		w.want("sent", w.sent(began), "")
	})
}

// endsAt ends each session at one reading and acknowledges all others, after 20 ms.
func endsAt(w *world, poison string) func(publish) {
	s := w.session
	return func(p publish) {
		time.AfterFunc(20*time.Millisecond, func() {
			s.mu.Lock()
			ended := s.cause != nil
			s.mu.Unlock()
			switch {
			case ended:
			case numberOf(p) == poison:
				s.end(transport.Closed)
			default:
				p.done(nil)
			}
		})
	}
}

// reconnect connects, and again when the hub ends the session, until a time has passed.
func (w *world) reconnect(poison string, until time.Duration) (sessions int) {
	for end := time.Now().Add(until); time.Now().Before(end); sessions++ {
		w.session = &fakeSession{ended: make(chan struct{})}
		w.session.script = endsAt(w, poison)
		w.work()
		select {
		case <-w.session.ended:
		case <-time.After(time.Until(end)):
			w.session.end(transport.ClosedLocally)
		}
		synctest.Wait()
		w.pause()
		w.Release()
		time.Sleep(10 * time.Millisecond)
	}
	return sessions
}

func TestReadingForWhichTheHubEndsEverySessionIsQuarantined(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		stop := time.NewTicker(100 * time.Millisecond)
		w.put(8, 1)
		go func() { // others come all the time
			for range 200 {
				<-stop.C
				w.accept(1, 1)
			}
		}()
		sessions := w.reconnect("5", time.Minute)
		if n, _ := w.box.Pending(); n != 0 || fmt.Sprint(w.drops) != "[5 quarantined]" || sessions > 10 {
			t.Errorf("after %d sessions %d readings are pending; dropped: %v", sessions, n, w.drops)
		}
		if d := w.suspects.window(64); d != 64 {
			t.Errorf("the window is %d", d)
		}
	})
}

func TestSuspectThatIsTheLastReadingIsSentEverMoreSeldomAndKept(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		w.put(1, 1)
		sessions := w.reconnect("1", 5*time.Hour)
		if n, _ := w.box.Pending(); n != 1 || len(w.drops) > 0 || sessions < 10 || sessions > 16 {
			t.Errorf("after %d sessions %d readings are pending; dropped: %v", sessions, n, w.drops)
		}
		w.reconnect("none", 2*time.Hour) // the hub takes it
		if n, _ := w.box.Pending(); n != 0 || len(w.drops) > 0 {
			t.Errorf("%d readings are pending; dropped: %v", n, w.drops)
		}
	})
}

// Without the second reading, nothing is left; with it, the one after the dropped one. A live reading
// goes before both.
func TestWindowIsWholeAgainAfterTheOutboxHasDroppedTheSuspects(t *testing.T) {
	for _, pending := range []int{1, 2} {
		for _, live := range []int{0, 1} {
			bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
				w.put(pending, 1)
				for range 2 {
					w.connect(nil)
					w.disconnect(transport.Closed)
				}
				w.want("the window", fmt.Sprint(w.suspects.window(64)), "1")
				r, _ := w.box.Peek(0)
				w.box.Quarantine(r.ID.N, errors.New("dropped"))
				w.session = &fakeSession{script: acks, ended: make(chan struct{})}
				w.Attach(w.session, "dev1")
				w.Detach()
				w.put(live, 1)
				w.work()
				w.want("the window", fmt.Sprint(w.suspects.window(64)), "64")
			})
		}
	}
}

// Live readings that are acknowledged one by one keep sendNext from the backlog.
func TestDroppedSuspectIsForgottenAlthoughLiveReadingsNeverEnd(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		w.put(1, 1)
		for range 2 {
			w.connect(nil)
			w.disconnect(transport.Closed)
		}
		r, _ := w.box.Peek(0)
		w.box.Quarantine(r.ID.N, errors.New("dropped"))
		w.session = &fakeSession{ended: make(chan struct{})}
		w.Attach(w.session, "dev1")
		w.Detach()
		w.put(3, 1)
		began := time.Now()
		w.work()
		w.want("sent", w.sent(began), "2+0 3+0 4+0")
	})
}

// The next reading was acknowledged when the session was too young to prove anything.
func TestSuspectIsSentAgainOnASteadySession(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		w.put(1, 1)
		for range 4 {
			w.reconnect("1", 25*time.Millisecond)
		}
		if !w.suspects.isWithheld(1) {
			t.Fatal("no reading is suspected")
		}
		began := time.Now()
		w.put(1, 1)
		w.connect(acks)
		time.Sleep(time.Minute)
		w.want("sent", w.sent(began), "2b+0 1b+1")
	})
}

func TestSuspectIsSentAgainWhenAnotherReadingIsAcknowledgedOnASteadySession(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		w.put(1, 1)
		for range 4 {
			w.reconnect("1", 25*time.Millisecond)
		}
		began := time.Now()
		w.connect(acks)
		time.Sleep(3 * time.Second)
		w.put(1, 1)
		w.want("sent", w.sent(began), "2+3 1b+3")
	})
}

func TestSuspectIsSentAfterTheOthersEvenAfterALongOutage(t *testing.T) {
	bubble(t, telemetry(Delivery{Unpaced: true}), func(t *testing.T, w *world) {
		w.put(1, 1)
		for range 4 {
			w.reconnect("1", 25*time.Millisecond)
		}
		time.Sleep(time.Hour)
		w.put(1, 1)
		began := time.Now()
		w.connect(acks)
		time.Sleep(time.Minute)
		w.want("sent", w.sent(began), "2b+0 1b+1")
	})
}
