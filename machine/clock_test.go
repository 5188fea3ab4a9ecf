package machine_test

import (
	"context"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

// unsetClock is a test of a device that boots in 1970, in a bubble whose year 2000 is the right time.
func unsetClock(t *testing.T, change func(*machine.Settings), test func(*testing.T, *world, *wallClock)) {
	t.Helper()
	var wall wallClock
	prepare := func(s *machine.Settings) {
		wall.jump(time.Until(time.Unix(0, 0)))
		s.Link.Now, s.Timing.ClockFloor = wall.now, time.Now()
		if change != nil {
			change(s)
		}
	}
	bubble(t, prepare, func(t *testing.T, w *world) { test(t, w, &wall) })
}

// take sends a reading and returns its ID.
func (w *world) take(r machine.Reading) string {
	w.t.Helper()
	if r.Body == nil {
		r.Body = []byte(`{"temp":21.5}`)
	}
	id, err := w.device.Send(context.Background(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.taken = append(w.taken, id.String())
	return id.String()
}

// wantCreated checks the creation time of a reading, to the second, and whether it is marked, wherever it arrived.
func (w *world) wantCreated(id string, at time.Time, estimated bool) {
	w.t.Helper()
	mark := ""
	if estimated {
		mark = "estimated"
	}
	found := false
	for _, d := range w.cloud.Ledger() {
		if d.MessageID != id {
			continue
		}
		found = true
		created, err := time.Parse(time.RFC3339, d.Properties["iothub-creation-time-utc"])
		if off := created.Sub(at); err != nil || off.Abs() > time.Second {
			w.t.Errorf("%s was created %v, which is off by %v (%v)", id, created, off, err)
		}
		if d.Properties["clock"] != mark {
			w.t.Errorf("%s is marked %q, want %q", id, d.Properties["clock"], mark)
		}
	}
	if !found {
		w.t.Errorf("%s has not arrived", id)
	}
}

func TestReadingsTakenBeforeTheClockWasSetAreDatedOnceItIs(t *testing.T) {
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		w.live()
		type reading struct {
			id string
			at time.Time
		}
		var before, after []reading
		take := func(to *[]reading) { *to = append(*to, reading{w.take(machine.Reading{}), time.Now()}) }
		take(&before)
		for range 39 {
			time.Sleep(time.Second)
			take(&before)
		}
		time.Sleep(time.Second)
		wall.offset.Store(0)
		for range 10 { // some before it is Connected
			take(&after)
			time.Sleep(time.Second)
		}
		w.awaitState(machine.Connected, 0)
		time.Sleep(time.Hour)
		take(&after)
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.wantNothingLost()
		for _, r := range before {
			w.wantCreated(r.id, r.at, true)
		}
		for _, r := range after {
			w.wantCreated(r.id, r.at, false)
		}
	})
}

func TestAReadingWhoseTimeTheCallerGaveKeepsIt(t *testing.T) {
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		at := time.Date(1985, 10, 26, 1, 21, 0, 0, time.UTC)
		id := w.take(machine.Reading{Taken: at})
		wall.offset.Store(0)
		w.connected()
		w.wantCreated(id, at, false)
	})
}

// How long it has waited cannot be told from two clocks.
func TestAReadingWhoseTimeTheCallerGaveIsNotTooOldBecauseTheClockIsSetThen(t *testing.T) {
	aged := func(s *machine.Settings) {
		s.Storage.StateDir, s.Storage.InMemory, s.Storage.Limits.Age = t.TempDir(), false, time.Hour
	}
	unsetClock(t, aged, func(t *testing.T, w *world, wall *wallClock) {
		at := time.Date(1985, 10, 26, 1, 21, 0, 0, time.UTC)
		time.Sleep(10 * time.Second) // 0 in seconds would be no time
		id := w.take(machine.Reading{Taken: at})
		wall.offset.Store(0)
		w.connected()
		w.wantCreated(id, at, false)
	})
}

func TestAReadingWithoutATimeHasThatOfTheWallClock(t *testing.T) {
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		wall.offset.Store(int64(20 * time.Minute)) // set, and wrong
		id := w.take(machine.Reading{})
		w.connected()
		w.wantCreated(id, time.Now().Add(20*time.Minute), false)
	})
}

func TestWhileTheClockIsNotSetReadingsAreSentAsTheyAre(t *testing.T) {
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		wall.offset.Store(-int64(time.Minute)) // a minute before the floor
		at := wall.now()
		id := w.take(machine.Reading{})
		w.live()
		w.awaitState(machine.Connected, 0)
		synctest.Wait()
		w.wantCreated(id, at, false)
	})
}

func TestAReadingThatComesAgainHasTheSameCreationTime(t *testing.T) {
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		time.Sleep(10 * time.Second)
		at, id := time.Now(), w.take(machine.Reading{})
		time.Sleep(30 * time.Second)
		wall.offset.Store(0)
		for _, hub := range []string{"A", "B"} {
			if err := w.cloud.Inject(hub, emulator.CutBeforePUBACK, emulator.Params{Count: 1}); err != nil {
				t.Fatal(err)
			}
		}
		w.live()
		time.Sleep(10 * time.Minute)
		if err := w.close(); err != nil {
			t.Error(err)
		}
		if n := w.wantNothingLost(); n == 0 {
			t.Error("it came once")
		}
		w.wantCreated(id, at, true)
	})
}

// What an outbox on disk gives back: the monotonic clock by which such a reading was taken has ended with its process.
func TestAReadingOfAnEarlierRunIsDatedToTheBeginningOfThisOne(t *testing.T) {
	early := payloads.Reading{Body: []byte("1"), Taken: time.Unix(3600, 0)}
	beforeClockWasSet := outbox.Stamp{Uptime: time.Hour, BeforeClockWasSet: true}
	dated := payloads.Reading{Body: []byte("2"), Taken: time.Date(1999, 12, 24, 18, 0, 0, 0, time.UTC)}
	var ids []string
	var born time.Time
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		kept := outbox.NewMemory(outbox.Options{})
		put := func(r payloads.Reading, stamp outbox.Stamp) {
			id, err := kept.Put(t.Context(), r, stamp)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id.String())
		}
		put(early, beforeClockWasSet)
		put(dated, outbox.Stamp{})
		born = time.Now()
		var err error
		w.device, err = machine.NewWithOutbox(w.settings(func(s *machine.Settings) {
			s.Link.Now, s.Timing.ClockFloor = wall.now, born
		}), kept)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		at, ours := time.Now(), w.take(machine.Reading{})
		time.Sleep(time.Minute)
		wall.offset.Store(0)
		w.connected()
		w.wantCreated(ids[0], born, true)
		w.wantCreated(ids[1], dated.Taken, false)
		w.wantCreated(ours, at, true)
	})
}

// Both marks come on top of a reading that could not be larger, in its body or in its properties.
func TestTheLargestReadingsFitWithBothMarks(t *testing.T) {
	unsetClock(t, nil, func(t *testing.T, w *world, wall *wallClock) {
		var ids []string
		for _, shape := range []func(n int) machine.Reading{
			func(n int) machine.Reading { return machine.Reading{Body: []byte(`"` + strings.Repeat("x", n) + `"`)} },
			func(n int) machine.Reading {
				return machine.Reading{Body: []byte("1"), Properties: map[string]string{"p": strings.Repeat("x", n)}}
			},
		} {
			tooMuch := sort.Search(payloads.MaxMessageBytes, func(n int) bool { return shape(n).Check() != nil })
			ids = append(ids, w.take(shape(tooMuch-1)))
		}
		at := time.Now()
		wall.offset.Store(0)
		w.connected()
		w.wantNothingLost()
		for _, id := range ids {
			w.wantCreated(id, at, true)
		}
		for _, d := range w.cloud.Ledger() {
			if d.Properties[hub.BacklogProperty] == "" {
				t.Errorf("%s is not marked as backlog", d.MessageID)
			}
		}
	})
}
