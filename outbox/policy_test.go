package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/payloads"
)

// both runs a test on an outbox of either kind, in a bubble. drops is what Dropped has heard.
func both(t *testing.T, limits Limits, test func(t *testing.T, box Outbox, drops *[]string)) {
	hear := func() (*[]string, func(Drop)) {
		var drops []string
		return &drops, func(d Drop) { drops = append(drops, d.Numbers.String()+" "+string(d.Reason())) }
	}
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			drops, dropped := hear()
			box := NewMemory(Options{Limits: limits, Dropped: dropped})
			defer box.Close()
			test(t, box, drops)
		})
	})
	t.Run("log", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			drops, dropped := hear()
			box, err := Open("", Options{Limits: limits, Files: newDisk(), Dropped: dropped})
			if err != nil {
				t.Fatal(err)
			}
			defer box.Close()
			test(t, box, drops)
		})
	})
}

func of(body string) payloads.Reading { return payloads.Reading{Body: []byte(body)} }

func fillUp(t *testing.T, box Outbox, count int) {
	t.Helper()
	for range count {
		if _, err := box.Put(t.Context(), of("reading"), Stamp{}); err != nil {
			t.Fatal(err)
		}
	}
}

// handedOut are the numbers that Peek hands out, and what each names as missing: "3:1-2".
func handedOut(box Outbox) (all []string) {
	for {
		e, ok := box.Peek(0)
		if !ok {
			return all
		}
		text := fmt.Sprint(e.ID.N)
		if missing := e.Reading.Properties[MissingProperty]; missing != "" {
			text += ":" + missing
		}
		all = append(all, text)
	}
}

// waiter is a Put in a goroutine.
func waiter(ctx context.Context, box Outbox) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := box.Put(ctx, of("waits"), Stamp{})
		done <- err
	}()
	synctest.Wait()
	return done
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestDropOldestNamesTheDroppedOnTheOldestThatIsLeft(t *testing.T) {
	both(t, Limits{Readings: 3}, func(t *testing.T, box Outbox, drops *[]string) {
		fillUp(t, box, 3)
		box.Peek(1) // 2 is in flight
		fillUp(t, box, 2)
		want(t, "dropped", *drops, []string{"1 full", "3 full"})
		want(t, "handed out", handedOut(box), []string{"4:1,3", "5"})
		if _, err := box.Put(t.Context(), of("6"), Stamp{}); !errors.Is(err, ErrFull) {
			t.Errorf("everything is in flight, and Put returns %v", err)
		}
		box.Leave(5)
		fillUp(t, box, 1)
		want(t, "in the end", handedOut(box), []string{"7:5-6"})
	})
}

func TestDropOfAReadingLosesNoNotice(t *testing.T) {
	both(t, Limits{Readings: 2}, func(t *testing.T, box Outbox, _ *[]string) {
		fillUp(t, box, 100)
		want(t, "handed out", handedOut(box), []string{"99:1-98", "100"})
		box.Leave(99)
		fillUp(t, box, 1)
		want(t, "after 99 was dropped too", handedOut(box), []string{"101:1-99"})
	})
}

func TestFirstAcknowledgedReadingNamesThePreviousEpoch(t *testing.T) {
	before := ID{"8f3a1c02", 17}
	disk := newDisk()
	log := func() Outbox {
		box, err := Open("", Options{Limits: Limits{Readings: 2}, Previous: before, Files: disk})
		if err != nil {
			t.Fatal(err)
		}
		return box
	}
	memory := NewMemory(Options{Limits: Limits{Readings: 2}, Previous: before})
	for name, box := range map[string]Outbox{"memory": memory, "log": log()} {
		t.Run(name, func(t *testing.T) {
			fillUp(t, box, 3) // 1 is dropped
			for range 2 {
				e, _ := box.Peek(0)
				want(t, "on the first", e.Reading.Properties[PreviousProperty], before.String())
				box.Leave(2)
				if name == "log" {
					box.Close()
					box = log()
				}
			}
			box.Peek(0)
			box.Remove(2)
			if name == "log" {
				box.Close()
				box = log()
				s, err := readFiles("", disk)
				if err != nil || s.Previous != before {
					t.Errorf("the files name %v, %v", s.Previous, err)
				}
			}
			e, _ := box.Peek(0)
			want(t, "on the second", e.Reading.Properties[PreviousProperty], "")
			box.Close()
		})
	}
}

func TestDropNewestRefusesAndALaterReadingNamesTheNumber(t *testing.T) {
	both(t, Limits{Readings: 2, Full: DropNewest}, func(t *testing.T, box Outbox, drops *[]string) {
		fillUp(t, box, 2)
		for range 3 {
			if _, err := box.Put(t.Context(), of("more"), Stamp{}); !errors.Is(err, ErrFull) {
				t.Error(err)
			}
		}
		want(t, "dropped", *drops, []string{"3 full", "4 full", "5 full"})
		want(t, "handed out", handedOut(box), []string{"1", "2"})
		box.Remove(1)
		fillUp(t, box, 1)
		want(t, "then", handedOut(box), []string{"6:3-5"})
	})
}

func TestBlockWaitsForRoom(t *testing.T) {
	both(t, Limits{Readings: 2, Full: Block}, func(t *testing.T, box Outbox, drops *[]string) {
		fillUp(t, box, 2)
		first, second := waiter(t.Context(), box), waiter(t.Context(), box)
		time.Sleep(time.Hour)
		synctest.Wait()
		want(t, "waits", []int{len(first), len(second)}, []int{0, 0})
		box.Peek(0)
		box.Leave(1) // no room
		synctest.Wait()
		want(t, "waits still", []int{len(first), len(second)}, []int{0, 0})
		box.Peek(0)
		box.Remove(1)
		synctest.Wait()
		want(t, "put", len(first)+len(second), 1)
		box.Peek(0)
		box.Quarantine(2, errors.New("bad"))
		synctest.Wait()
		want(t, "put", []error{<-first, <-second}, []error{nil, nil})
		want(t, "dropped", *drops, []string{"2 quarantined"})
		want(t, "the queue", handedOut(box), []string{"3:2", "4"})
	})
}

func TestBlockEndsWithItsContextWithoutANumber(t *testing.T) {
	both(t, Limits{Readings: 1, Full: Block}, func(t *testing.T, box Outbox, drops *[]string) {
		fillUp(t, box, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := box.Put(ctx, of("waits"), Stamp{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		want(t, "the last number", box.Last(), 1)
		want(t, "dropped", len(*drops), 0)
	})
}

func TestBlockEndsWithSeal(t *testing.T) {
	both(t, Limits{Readings: 1, Full: Block}, func(t *testing.T, box Outbox, _ *[]string) {
		fillUp(t, box, 1)
		done := waiter(t.Context(), box)
		box.Seal()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		want(t, "what waited", handedOut(box), []string{"1"})
	})
}

func TestBlockFindsRoomWhenTheOldestIsTooOld(t *testing.T) {
	both(t, Limits{Readings: 1, Age: time.Minute, Full: Block}, func(t *testing.T, box Outbox, drops *[]string) {
		fillUp(t, box, 1)
		began := time.Now()
		fillUp(t, box, 1)
		want(t, "waited", time.Since(began).Round(time.Second), time.Minute)
		want(t, "dropped", *drops, []string{"1 too-old"})
	})
}

func TestReadingsOverTheAgeLimitAreDropped(t *testing.T) {
	both(t, Limits{Age: time.Hour}, func(t *testing.T, box Outbox, drops *[]string) {
		fillUp(t, box, 3)
		box.Peek(1) // 2 is in flight
		time.Sleep(time.Hour)
		fillUp(t, box, 1)
		want(t, "just old enough", len(*drops), 0)
		time.Sleep(time.Second)
		want(t, "handed out", handedOut(box), []string{"4:1,3"})
		want(t, "dropped", *drops, []string{"1 too-old", "3 too-old"})
		box.Leave(2)
		want(t, "2 came back", len(handedOut(box)), 0)
		want(t, "dropped", *drops, []string{"1 too-old", "3 too-old", "2 too-old"})
	})
}

func TestReadingLargerThanTheOutboxIsRefusedByEachPolicyAndDropsNothing(t *testing.T) {
	for _, full := range []Policy{DropOldest, DropNewest, Block} {
		t.Run(string(full), func(t *testing.T) {
			both(t, Limits{Bytes: 1000, Full: full}, func(t *testing.T, box Outbox, drops *[]string) {
				fillUp(t, box, 2)
				if _, err := box.Put(t.Context(), of(string(make([]byte, 1001))), Stamp{}); !errors.Is(err, ErrFull) {
					t.Error(err)
				}
				want(t, "dropped", *drops, []string{"3 full"})
				fillUp(t, box, 1)
				want(t, "the queue", handedOut(box), []string{"1", "2", "4:3"})
			})
		})
	}
}

func TestReadingLargerThanARecordIsRefusedAndTheLargestIsHandedOut(t *testing.T) {
	disk := newDisk()
	box, err := Open("", Options{Files: disk})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := box.Put(t.Context(), of(string(make([]byte, frameLimit))), Stamp{}); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	large := bytes.Repeat([]byte("x"), frameLimit-100)
	if _, err := box.Put(t.Context(), payloads.Reading{Body: large}, Stamp{}); err != nil {
		t.Error(err)
	}
	box.Close()
	if box, err = Open("", Options{Files: disk}); err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if e, _ := box.Peek(0); e.ID.N != 2 || !slices.Equal(e.Reading.Body, large) {
		t.Errorf("%s came back, with %d bytes", e.ID, len(e.Reading.Body))
	}
}

// A number may take one byte more than was thought when the reading was measured.
func TestLargestReadingFitsIntoARecordUnderALaterNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{})
		fillUp(t, d, 125)
		d.disk.fails(func(op, _ string, _ int) error {
			if op == "write" {
				time.Sleep(time.Second)
			}
			return nil
		})
		first, second := waiter(t.Context(), d), waiter(t.Context(), d)
		half := Reading{ID: ID{d.epoch, 127}, Reading: of(strings.Repeat("x", frameLimit/2))}
		full := frameLimit + frameHead - d.Log.disk.frameSize(half, time.Now()) + frameLimit/2
		_, err := d.Put(t.Context(), of(strings.Repeat("x", full)), Stamp{})
		if <-first != nil || <-second != nil {
			t.Error("the others were refused")
		}
		accepted := 127
		if err == nil {
			accepted++
		}
		want(t, "handed out", len(handedOut(d)), accepted)
	})
}
