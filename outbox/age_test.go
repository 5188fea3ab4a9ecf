package outbox

import (
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/slow"
)

// An agedLog is a log with an age limit of a day, on a machine whose wall clock the test sets.
type agedLog struct {
	*Log
	t       *testing.T
	options Options
	ahead   atomic.Int64 // of the right time, a time.Duration
	unset   atomic.Bool
	drops   []string
}

// aged runs a test on an agedLog in a bubble.
func aged(t *testing.T, test func(l *agedLog)) {
	synctest.Test(t, func(t *testing.T) {
		l := &agedLog{t: t}
		l.options = Options{
			Limits: Limits{Age: 24 * time.Hour}, Files: newDisk(), Now: l.now,
			Dropped: func(d Drop) { l.drops = append(l.drops, d.Numbers.String()+" "+string(d.Reason())) },
		}
		l.open()
		test(l)
		l.Close()
	})
}

func (l *agedLog) now() time.Time {
	if l.unset.Load() {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(l.ahead.Load()))
}

func (l *agedLog) open() {
	box, err := Open("", l.options)
	if err != nil {
		l.t.Fatal(err)
	}
	l.Log = box
}

// restart closes the log and opens it as a new process does.
func (l *agedLog) restart() {
	if err := l.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.open()
}

func (l *agedLog) put(count int) { l.t.Helper(); fillUp(l.t, l, count) }

// wantDropped looks at the age of what is pending, and checks what was dropped so far.
func (l *agedLog) wantDropped(when string, dropped ...string) {
	l.t.Helper()
	if e, ok := l.Peek(0); ok {
		l.Leave(e.ID.N)
	}
	want(l.t, when, l.drops, dropped)
}

func TestAgeDoesNotDependOnTheWallClock(t *testing.T) {
	slow.Test(t)
	const days = 24 * time.Hour
	for name, ahead := range map[string][2]time.Duration{ // of the right time, at first and after two seconds
		"it was three days behind, and is set":      {-3 * days, 0},
		"it was three days ahead, and is set":       {3 * days, 0},
		"it is right, and is set three days ahead":  {0, 3 * days},
		"it is right, and is set three days behind": {0, -3 * days},
	} {
		t.Run(name, func(t *testing.T) {
			aged(t, func(l *agedLog) {
				l.ahead.Store(int64(ahead[0]))
				l.put(2)
				time.Sleep(2 * time.Second)
				l.ahead.Store(int64(ahead[1]))
				l.wantDropped("after two seconds")
				time.Sleep(23 * time.Hour)
				l.put(1)
				l.wantDropped("after 23 hours")
				time.Sleep(2 * time.Hour)
				l.wantDropped("after 25 hours", "1 too-old", "2 too-old")
			})
		})
	}
}

func TestAgeIsKnownWhileTheClockIsNotSet(t *testing.T) {
	aged(t, func(l *agedLog) {
		l.unset.Store(true)
		l.put(1)
		time.Sleep(2 * time.Second)
		l.unset.Store(false)
		l.wantDropped("after two seconds")
		time.Sleep(25 * time.Hour)
		l.wantDropped("after a day", "1 too-old")
	})
}

// Elapsed may count what the monotonic clock of the process does not: the time for which the machine slept.
func TestAgeIncludesTheTimeThatTheMachineSlept(t *testing.T) {
	both(t, Limits{Age: time.Hour}, func(t *testing.T, box Outbox, drops *[]string) {
		var slept time.Duration
		var o *Options
		switch box := box.(type) {
		case *Log:
			o = &box.options
		case *Memory:
			o = &box.options
		}
		elapsed := o.Elapsed
		o.Elapsed = func() time.Duration { return elapsed() + slept }
		fillUp(t, box, 1)
		slept = 2 * time.Hour
		fillUp(t, box, 1)
		want(t, "dropped", *drops, []string{"1 too-old"})
	})
}

// Of an earlier run only what the wall clock said is known.
func TestAgeInAnEarlierRunComesFromTheWallClock(t *testing.T) {
	aged(t, func(l *agedLog) {
		l.unset.Store(true)
		l.put(1) // its age will never be known
		l.unset.Store(false)
		l.put(1)
		l.ahead.Store(int64(time.Hour)) // for them, the next start is before they were put
		l.put(1)
		l.ahead.Store(0)
		l.restart()
		time.Sleep(30 * time.Minute)
		l.put(1)
		time.Sleep(23*time.Hour + 45*time.Minute)
		l.wantDropped("a day after the first", "2 too-old")
		l.unset.Store(true)
		time.Sleep(45 * time.Minute)
		l.wantDropped("while the clock is not set again", "2 too-old", "4 too-old")
		l.unset.Store(false)
		time.Sleep(10 * time.Minute)
		l.wantDropped("a day and an hour after the first", "2 too-old", "4 too-old", "3 too-old")
	})
}

func TestAgeInAnEarlierRunIsCorrectedWhenTheClockWasSet(t *testing.T) {
	aged(t, func(l *agedLog) {
		l.ahead.Store(int64(-3 * 24 * time.Hour))
		l.put(2)
		l.ahead.Store(0)
		l.options.SetSince = func(id ID) time.Duration {
			if id == (ID{l.epoch, 2}) {
				return 3 * 24 * time.Hour
			}
			return 0
		}
		l.restart()
		time.Sleep(2 * time.Second)
		l.wantDropped("at the next start", "1 too-old")
		time.Sleep(24 * time.Hour)
		l.wantDropped("a day later", "1 too-old", "2 too-old")
	})
}

// A disk that takes nothing for a while keeps a reading from being written, and the clock is set meanwhile.
func TestReadingWrittenLateHasTheTimeOfTheClockThatWasSetMeanwhile(t *testing.T) {
	aged(t, func(l *agedLog) {
		l.Log.queue.options.Limits.Full = Block
		disk := l.options.Files.(*fakeDisk)
		disk.breaks(syscall.ENOSPC, "write")
		l.ahead.Store(int64(-3 * 24 * time.Hour))
		done := waiter(l.t.Context(), l)
		time.Sleep(time.Hour)
		l.ahead.Store(0)
		disk.breaks(nil)
		if err := <-done; err != nil {
			l.t.Fatal(err)
		}
		l.restart()
		l.wantDropped("at the next start")
		time.Sleep(22 * time.Hour)
		l.wantDropped("after 23 hours")
		time.Sleep(2 * time.Hour)
		l.wantDropped("after 25 hours", "1 too-old")
	})
}
