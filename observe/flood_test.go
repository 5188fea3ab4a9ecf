package observe_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
)

// A witness is an observer that notes when it gets each record.
type witness struct {
	mu      sync.Mutex // for tests that look before the Fan is closed
	records []observe.Record
	at      []time.Time
}

func (w *witness) observe(r observe.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records, w.at = append(w.records, r), append(w.at, time.Now())
}

func (w *witness) got() []observe.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.records)
}

// watched has a Fan emit what a test wants, and returns what its observer got.
func watched(t *testing.T, emit func(*observe.Fan)) *witness {
	t.Helper()
	var w witness
	synctest.Test(t, func(t *testing.T) {
		f := observe.NewFan(w.observe)
		f.Start()
		emit(f)
		closeFan(t, f)
	})
	return &w
}

func emitNow(f *observe.Fan, r observe.Record) {
	r.Time = time.Now()
	f.Emit(r.Describe())
}

func drop(n int, cause string) observe.Record {
	return observe.Record{Kind: observe.Dropped, Level: observe.Warn, Cause: cause, ID: fmt.Sprint("8f3a1c02-", n),
		Error: "why " + cause}
}

// dropped is how often each number is named for a cause, and how many readings the records count.
func (w *witness) dropped(t *testing.T, cause string) (named map[int]int, count int) {
	t.Helper()
	named = map[int]int{}
	for _, r := range w.records {
		if r.Kind != observe.Dropped || r.Cause != cause {
			continue
		}
		count += max(1, r.Count)
		numbers, ok := strings.CutPrefix(r.ID, "8f3a1c02-")
		if !ok {
			continue
		}
		for text := range strings.SplitSeq(numbers, ",") {
			from, to, isRange := strings.Cut(text, "-")
			if !isRange {
				to = from
			}
			first, err := strconv.Atoi(from)
			last, err2 := strconv.Atoi(to)
			if err != nil || err2 != nil {
				t.Fatalf("an ID is %q", r.ID)
			}
			for n := first; n <= last; n++ {
				named[n]++
			}
		}
	}
	return named, count
}

// wantCalm checks that no two records of a cause came within a second, but for the end.
func (w *witness) wantCalm(t *testing.T, cause string) {
	t.Helper()
	var times []time.Time
	for i, r := range w.records {
		if r.Cause == cause {
			times = append(times, w.at[i])
		}
	}
	for i := 1; i < len(times)-1; i++ {
		if d := times[i].Sub(times[i-1]); d < time.Second {
			t.Errorf("%s: records %d and %d came within %s", cause, i-1, i, d)
		}
	}
}

func TestFloodOfDroppedReadingsIsOneCompleteRecordASecond(t *testing.T) {
	const all = 60_000
	w := watched(t, func(f *observe.Fan) {
		for n := 1; n <= all; n++ {
			cause := "full"
			if n%20_000 == 0 {
				cause = "too-old"
			}
			emitNow(f, drop(n, cause))
			time.Sleep(8 * time.Second / all)
		}
	})
	full, count := w.dropped(t, "full")
	old, oldCount := w.dropped(t, "too-old")
	if count != all-3 || len(full) != all-3 || oldCount != 3 || len(old) != 3 {
		t.Errorf("named are %d and %d, counted %d and %d", len(full), len(old), count, oldCount)
	}
	for n, times := range full {
		if times != 1 {
			t.Fatalf("%d is named %d times", n, times)
		}
	}
	if len(w.records) > 13 {
		t.Errorf("%d records", len(w.records))
	}
	w.wantCalm(t, "full")
	w.wantCalm(t, "too-old")
	if r := w.records[1]; !strings.HasPrefix(r.Message, "dropped ") ||
		!strings.Contains(r.Message, " readings (full) 8f3a1c02-2-") || r.Error != "why full" {
		t.Errorf("the second is %+v", r)
	}
}

func TestDroppedReadingsWithGapsAreAllNamed(t *testing.T) {
	w := watched(t, func(f *observe.Fan) {
		for n := 2000; n > 0; n -= 2 {
			emitNow(f, drop(n, "damaged"))
		}
		for n := range 500 {
			emitNow(f, drop(5001+2*n, "full"))
		}
		for n := range 500 {
			emitNow(f, drop(5002+2*n, "full")) // between those
		}
	})
	for cause, want := range map[string]int{"damaged": 1000, "full": 1000} {
		if named, count := w.dropped(t, cause); len(named) != want || count != want {
			t.Errorf("%s: %d are named and %d counted", cause, len(named), count)
		}
	}
	for _, r := range w.records {
		if n := strings.Count(r.ID, ","); n >= 64 {
			t.Errorf("a record names %d ranges", n+1)
		}
	}
}

func TestDroppedReadingsWithoutANumberAreCounted(t *testing.T) {
	w := watched(t, func(f *observe.Fan) {
		for n := range 100 {
			r := drop(n, "disk")
			if n%2 == 0 {
				r.ID = ""
			}
			emitNow(f, r)
		}
	})
	if named, count := w.dropped(t, "disk"); len(named) != 50 || count != 100 || len(w.records) != 2 {
		t.Errorf("%d named, %d counted, by %d records", len(named), count, len(w.records))
	}
}

func TestRecordOfSeveralRangesKeepsItsCount(t *testing.T) {
	w := watched(t, func(f *observe.Fan) {
		for _, r := range []observe.Record{
			{ID: "8f3a1c02-1-10", Count: 10}, {ID: "8f3a1c02-11-20", Count: 10}, {ID: "8f3a1c02-31", Count: 0},
			{ID: "8f3a1c02-21-30", Count: 10},
		} {
			r.Kind, r.Cause = observe.Dropped, "damaged"
			emitNow(f, r)
		}
	})
	if r := w.records[1]; len(w.records) != 2 || r.ID != "8f3a1c02-11-31" || r.Count != 21 {
		t.Errorf("%+v", w.records)
	}
}

func TestFloodOfAnyKindIsBoundedAndCounted(t *testing.T) {
	const all = 7917
	for name, make := range map[string]func(i int) observe.Record{
		"method answers": func(i int) observe.Record {
			return observe.Record{Kind: observe.Handled, Name: "method echo", Status: 200}
		},
		"refused methods": func(i int) observe.Record {
			return observe.Record{Kind: observe.Handled, Name: "method echo", Status: 429}
		},
		"commands": func(i int) observe.Record {
			return observe.Record{Kind: observe.Handled, Name: fmt.Sprint("message ", i), ID: fmt.Sprint(i)}
		},
		"desired properties": func(i int) observe.Record {
			return observe.Record{Kind: observe.Handled, Name: fmt.Sprint("desired ", i), Status: 404}
		},
		"one warning": func(i int) observe.Record { return observe.Record{Kind: observe.Warning, Error: "no answer"} },
		"unknown topics": func(i int) observe.Record {
			return observe.Record{Kind: observe.Warning, Error: fmt.Sprint("unknown topic ", i)}
		},
		"refused events": func(i int) observe.Record {
			return observe.Record{Kind: observe.IllegalEvent, Event: fmt.Sprint("event ", i)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := watched(t, func(f *observe.Fan) {
				for i := range all {
					emitNow(f, make(i))
					time.Sleep(3 * time.Second / all)
				}
			})
			stand := 0
			for _, r := range w.records {
				stand += 1 + r.Repeated
			}
			if last := w.records[len(w.records)-1]; stand != all || len(w.records) > 64+4 ||
				last.Error != make(all-1).Error ||
				last.ID != make(all-1).ID {
				t.Errorf("%d records stand for %d; the last is %+v", len(w.records), stand, last)
			}
		})
	}
}

func TestFloodDoesNotHideOtherSorts(t *testing.T) {
	w := watched(t, func(f *observe.Fan) {
		for i := range 1000 {
			emitNow(f, observe.Record{Kind: observe.Handled, Name: "method a", Status: 200})
			if i == 500 {
				emitNow(f, observe.Record{Kind: observe.Handled, Name: "command b", Status: 200})
				emitNow(f, observe.Record{Kind: observe.Handled, Name: "method c", Status: 500, Level: observe.Warn})
				emitNow(f, observe.Record{Kind: observe.Transition, From: "Connected", To: "Failover"})
			}
		}
	})
	var got []string
	for _, r := range w.records[64:] {
		got = append(got, fmt.Sprint(r.Kind, " ", r.Name))
	}
	want := []string{"handled command b", "handled method c", "transition ", "handled method a"}
	if !slices.Equal(got, want) {
		t.Errorf("after the first 64 come %q, want %q", got, want)
	}
}

func TestNothingIsCombinedAtAUsualRate(t *testing.T) {
	w := watched(t, func(f *observe.Fan) {
		for i := range 300 {
			emitNow(f, observe.Record{Kind: observe.Handled, Name: "method a", Status: 200})
			if i%60 == 0 {
				emitNow(f, drop(i, "full"))
			}
			time.Sleep(time.Second / 50)
		}
	})
	if len(w.records) != 305 ||
		slices.ContainsFunc(w.records, func(r observe.Record) bool { return r.Repeated > 0 || r.Count > 0 }) {
		t.Errorf("%d records", len(w.records))
	}
}

func TestHeldRecordsAreReleasedWithinASecondOrByClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w witness
		f := observe.NewFan(w.observe)
		f.Start()
		for n := range 10 {
			emitNow(f, drop(n, "full"))
		}
		synctest.Wait()
		before := len(w.got())
		time.Sleep(time.Second)
		synctest.Wait()
		if later := w.got(); before != 1 || len(later) != 2 || later[1].Count != 9 {
			t.Errorf("at once %d, and after a second %+v", before, later)
		}
		for n := range 10 {
			emitNow(f, drop(100+n, "full"))
		}
		end := time.Now()
		closeFan(t, f)
		if time.Since(end) > 0 || len(w.records) != 3 || w.records[2].Count != 10 {
			t.Errorf("%s after the end %+v", time.Since(end), w.records)
		}
	})
}

func TestCombinedRecordsKeepTheOrderOfTimes(t *testing.T) {
	w := watched(t, func(f *observe.Fan) {
		for n := range 3000 {
			emitNow(f, drop(n, []string{"full", "too-old", "disk"}[n%3]))
			emitNow(f, observe.Record{Kind: observe.Warning, Error: fmt.Sprint(n)})
			if n%10 == 0 {
				emitNow(f, observe.Record{Kind: observe.Accepted, ID: fmt.Sprint(n)})
			}
			time.Sleep(time.Millisecond)
		}
	})
	if !slices.IsSortedFunc(w.records, func(a, b observe.Record) int { return a.Time.Compare(b.Time) }) {
		t.Error("the times go back")
	}
}

func TestTraceCountsEachDroppedReading(t *testing.T) {
	var log, out bytes.Buffer
	print := observe.NewPrinter(&log, true, observe.Info)
	w := watched(t, func(f *observe.Fan) {
		for n := range 1000 {
			emitNow(f, drop(n, "full"))
		}
	})
	for _, r := range w.records {
		print(r)
	}
	if err := observe.Trace(&log, &out); err != nil || !strings.Contains(out.String(), "readings: 1000 dropped") {
		t.Errorf("%v\n%s", err, &out)
	}
}
