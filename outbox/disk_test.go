package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/slow"
)

// A trouble is a disk that fails, somewhere.
type trouble struct {
	err error
	op  string
}

var troubles = []trouble{
	{syscall.ENOSPC, "create"}, {syscall.ENOSPC, "write"}, {syscall.ENOSPC, "sync"}, {syscall.ENOSPC, "sync directory"},
	{syscall.EROFS, "create"}, {syscall.EROFS, "write"},
	{syscall.EIO, "create"}, {syscall.EIO, "write"}, {syscall.EIO, "sync"}, {syscall.EIO, "sync directory"},
}

// A device is a log on a disk that may fail, with what it was told and said.
type device struct {
	*testing.T
	*Log
	disk     *fakeDisk
	o        Options
	mu       sync.Mutex
	warnings []string
	drops    []string
}

func boot(t *testing.T, o Options) *device {
	d := &device{T: t, disk: newDisk(), o: o}
	d.o.Files = d.disk
	d.o.Warn = func(err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.warnings = append(d.warnings, err.Error())
	}
	d.o.Dropped = func(x Drop) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.drops = append(d.drops, x.Numbers.String()+" "+string(x.Reason()))
	}
	d.reboot()
	t.Cleanup(func() { d.Close() })
	return d
}

// heard are the drops that were told.
func (d *device) heard() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.drops)
}

func (d *device) reboot() {
	d.Helper()
	if d.Log != nil {
		if err := d.Close(); err != nil {
			d.Error(err)
		}
	}
	l, err := Open("", d.o)
	if err != nil {
		d.Fatal(err)
	}
	d.Log = l
}

// deliver takes the oldest that waits to the cloud.
func (d *device) deliver() uint64 {
	e, ok := d.Peek(0)
	if ok {
		d.Remove(e.ID.N)
	}
	return e.ID.N
}

// warned wants so many beginnings and ends of trouble, one after the other.
func (d *device) warned(count int) {
	d.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, w := range d.warnings {
		if strings.Contains(w, "cannot be written") != (i%2 == 0) {
			d.Errorf("warning %d is %q", i, w)
		}
	}
	if len(d.warnings) != count {
		d.Errorf("%d warnings, want %d: %q", len(d.warnings), count, d.warnings)
	}
}

// eachTrouble runs a test in a bubble for each trouble.
func eachTrouble(t *testing.T, test func(t *testing.T, x trouble)) {
	for _, x := range troubles {
		t.Run(strings.ReplaceAll(fmt.Sprint(x.op, " ", x.err), " ", "-"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, x) })
		})
	}
}

func TestFailingDiskRefusesReadingsAndKeepsAcknowledgements(t *testing.T) {
	for _, full := range []Policy{DropOldest, DropNewest} {
		eachTrouble(t, func(t *testing.T, x trouble) {
			size := int64(1) // each commit begins a segment
			if full == DropOldest && isOutOfSpace(x.err) {
				size = 1 << 20 // all in one, so that there is none to drop
				if x.op == "create" || x.op == "sync directory" {
					return // and none is begun
				}
			}
			d := boot(t, Options{Limits: Limits{Full: full}, segmentSize: size})
			fillUp(t, d, 5)
			d.deliver()
			d.disk.breaks(x.err, x.op)
			for range 3 {
				if _, err := d.Put(t.Context(), of("lost"), Stamp{}); !errors.Is(err, DiskFull) ||
					!errors.Is(err, x.err) {
					t.Fatalf("Put returns %v", err)
				}
			}
			d.deliver()
			time.Sleep(time.Minute)
			d.disk.breaks(nil)
			time.Sleep(time.Minute)
			synctest.Wait()
			d.warned(2)
			fillUp(t, d, 1)
			want(t, "dropped", d.drops, []string{"0 disk", "0 disk", "0 disk"}) // their numbers come later
			d.reboot()
			want(t, "after a restart", handedOut(d), []string{"3", "4", "5", "9:6-8"})
			want(t, "the last number", d.Last(), 9)
			s, _ := readFiles("", d.disk)
			want(t, "the files say", len(s.Dropped), 1)
		})
	}
}

func TestBlockWaitsForAFailingDisk(t *testing.T) {
	eachTrouble(t, func(t *testing.T, x trouble) {
		d := boot(t, Options{Limits: Limits{Full: Block}, segmentSize: 1})
		fillUp(t, d, 3)
		d.deliver()
		d.disk.breaks(x.err, x.op)
		first, second := waiter(t.Context(), d), waiter(t.Context(), d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := d.Put(ctx, of("waits"), Stamp{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put returns %v", err)
		}
		want(t, "wait", []int{len(first), len(second)}, []int{0, 0})
		d.disk.breaks(nil)
		want(t, "put", []error{<-first, <-second}, []error{nil, nil})
		synctest.Wait()
		d.warned(2)
		want(t, "dropped", len(d.drops), 0)
		d.reboot()
		want(t, "after a restart", handedOut(d), []string{"2", "3", "4", "5"})
	})
}

func TestCloseOnAFailingDiskEndsEveryPutAndGivesAdvice(t *testing.T) {
	for _, full := range []Policy{DropOldest, DropNewest, Block} {
		eachTrouble(t, func(t *testing.T, x trouble) {
			d := boot(t, Options{Limits: Limits{Full: full}, segmentSize: 1})
			fillUp(t, d, 3)
			d.disk.breaks(x.err, x.op)
			var puts []chan error
			for range 5 {
				puts = append(puts, waiter(t.Context(), d))
			}
			err := d.Close()
			if what := fmt.Sprint(err); !errors.Is(err, x.err) || !strings.HasPrefix(what, "outbox: close: ") ||
				!strings.Contains(what, "; make room") {
				t.Errorf("Close returns %v", err)
			}
			for _, done := range puts {
				if err := <-done; full == Block && !errors.Is(err, DiskFull) {
					t.Errorf("Put returns %v", err)
				}
			}
		})
	}
}

func TestDropOldestDropsTheOldestSegmentOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{segmentSize: 200})
		const room = 3000
		d.disk.fails(func(op, _ string, size int) error {
			if op == "write" && d.disk.used()+size > room {
				return syscall.ENOSPC
			}
			return nil
		})
		fillUp(t, d, 400)
		if n, _ := d.Pending(); n < 10 || len(d.drops) == 0 {
			t.Errorf("%d wait, %d drops", n, len(d.drops))
		}
		d.mu.Lock()
		for _, x := range d.drops {
			if !strings.HasSuffix(x, " disk") {
				t.Error(x)
			}
		}
		d.mu.Unlock()
		d.warned(1)
		readings, _ := d.Pending()
		d.reboot()
		got := handedOut(d)
		want(t, "wait after a restart", len(got), readings)
		want(t, "the oldest names all before", got[0], fmt.Sprintf("%d:1-%d", 401-readings, 400-readings))
	})
}

func TestFullDiskIsOverAMinuteAfterItsLastDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{segmentSize: 1})
		fillUp(t, d, 20)
		for range 5 {
			d.disk.breaks(syscall.ENOSPC, "write")
			done := waiter(t.Context(), d)
			<-done
			d.disk.breaks(nil)
			fillUp(t, d, 1)
		}
		d.warned(1)
		time.Sleep(time.Hour)
		fillUp(t, d, 1)
		synctest.Wait()
		d.warned(2)
	})
}

func TestAcknowledgementsDropNothingOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{segmentSize: 1})
		fillUp(t, d, 5)
		d.disk.breaks(syscall.ENOSPC, "write", "create")
		d.Peek(2)
		d.Remove(3)
		time.Sleep(time.Hour)
		want(t, "dropped", len(d.drops), 0)
		d.disk.breaks(nil)
		time.Sleep(time.Minute)
		d.warned(2)
		d.reboot()
		want(t, "after a restart", handedOut(d), []string{"1", "2", "4", "5"})
	})
}

func TestAcknowledgementsOutliveTheSegmentThatAFullDiskDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{segmentSize: 120})
		fillUp(t, d, 4) // 1 and 2 share a segment, 3 and 4 the next
		d.Peek(0)       // 1 is in flight, so its segment stays
		d.Peek(1)
		d.Remove(2)
		fillUp(t, d, 1) // says so
		fillUp(t, d, 3)
		full := true
		d.disk.fails(func(op, _ string, _ int) error {
			if op == "write" && full {
				full = false
				return syscall.ENOSPC
			}
			return nil
		})
		fillUp(t, d, 1) // once more each, so that the segment that says so is dropped
		full = true
		fillUp(t, d, 1)
		full = true
		fillUp(t, d, 1)
		d.reboot()
		for _, n := range handedOut(d) {
			if n == "2" {
				t.Error("2 was acknowledged, and came back")
			}
		}
	})
}

func TestFailingDiskIsNotTriedTooOften(t *testing.T) {
	slow.Test(t)
	for _, full := range []Policy{DropOldest, DropNewest, Block} {
		eachTrouble(t, func(t *testing.T, x trouble) {
			d := boot(t, Options{Limits: Limits{Full: full}, segmentSize: 1})
			fillUp(t, d, 4)
			d.deliver()
			d.Peek(1)
			d.disk.breaks(x.err, x.op)
			d.Quarantine(2, errors.New("bad"))
			ctx, cancel := context.WithCancel(t.Context())
			done := waiter(ctx, d)
			time.Sleep(time.Second)
			before := d.disk.asked()
			time.Sleep(time.Hour)
			if calls := d.disk.asked() - before; calls > 3600*15 {
				t.Errorf("%d calls in an hour", calls)
			}
			if names := d.disk.names(""); len(names) > 9 {
				t.Errorf("%d files: %v", len(names), names)
			}
			cancel()
			<-done
			d.disk.breaks(nil)
			time.Sleep(time.Minute)
			synctest.Wait()
			d.warned(2)
			d.reboot()
			kept := 0
			for q, err := range quarantined(d.disk) {
				if kept++; err != nil {
					t.Errorf("the quarantine has %v, %v", q, err)
				}
			}
			want(t, "readings in quarantine", kept, 1)
			if got := handedOut(d); slices.Contains(got, "1") || slices.Contains(got, "2") {
				t.Errorf("after a restart %v", got)
			}
		})
	}
}

func TestAcceptedReadingSurvivesAFailedWrite(t *testing.T) {
	slow.Test(t)
	for _, full := range []Policy{DropOldest, DropNewest, Block} {
		eachTrouble(t, func(t *testing.T, x trouble) {
			d := boot(t, Options{Limits: Limits{Full: full}, Sync: time.Minute, segmentSize: 1 << 20})
			fillUp(t, d, 2)
			time.Sleep(2 * time.Minute) // safe
			if x.op == "create" || x.op == "sync directory" {
				d.o.segmentSize = 1
				d.reboot()
			}
			fillUp(t, d, 3)
			d.disk.breaks(x.err, x.op)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			_, err := d.Put(ctx, of("6"), Stamp{})
			time.Sleep(20 * time.Minute)
			waiting, _ := d.Pending()
			d.disk.breaks(nil)
			time.Sleep(2 * time.Minute)
			fillUp(t, d, 1)
			time.Sleep(2 * time.Minute)
			t.Logf("in the trouble Put returned %v, and %d waited", err, waiting)
			d.warned(2)
			d.reboot()
			var got []string
			for _, text := range handedOut(d) {
				n, _, _ := strings.Cut(text, ":")
				got = append(got, n)
			}
			for _, n := range []string{"3", "4", "5"} {
				if !slices.Contains(got, n) && !(full == DropOldest && slices.Contains(d.drops, n+" disk")) {
					t.Errorf("%s was accepted, and is not among %v", n, got)
				}
			}
			if names := d.disk.names(suffix); len(names) > 8 {
				t.Errorf("%v", names)
			}
		})
	}
}

func TestSegmentIsDeletedOnlyOnceItsReplacementIsSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{Sync: time.Hour, segmentSize: 1})
		fillUp(t, d, 1)
		time.Sleep(2 * time.Hour)
		d.deliver()
		d.disk.fails(func(op, name string, _ int) error {
			if op == "remove" && d.disk.calls["sync directory"] < 2 {
				t.Errorf("%s is deleted, and no other name is safe", name)
			}
			return nil
		})
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		want(t, "files", len(d.disk.names(suffix)), 1)
	})
}

func TestFilesThatCannotBeOpenedForNowDropNothingAndAreReported(t *testing.T) {
	for _, short := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EACCES, syscall.ENOMEM} {
		t.Run(short.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := boot(t, Options{segmentSize: 1})
				fillUp(t, d, 3)
				d.Close()
				opened := map[string]bool{}
				d.disk.fails(func(op, name string, _ int) error {
					if op == "open" && opened[name] { // Open has read it
						return short
					}
					opened[name] = opened[name] || op == "open"
					return nil
				})
				d.reboot()
				for range 3600 {
					if e, ok := d.Peek(0); ok {
						t.Fatalf("handed out %v", e)
					}
					<-d.Changed()
				}
				if len(d.warnings) != 1 || !strings.Contains(d.warnings[0], "cannot be read: "+short.Error()) {
					t.Errorf("in trouble it warned %q", d.warnings)
				}
				d.disk.breaks(nil)
				want(t, "in the end", handedOut(d), []string{"1", "2", "3"})
				want(t, "dropped", len(d.drops), 0)
				if len(d.warnings) != 2 || !strings.Contains(d.warnings[1], "can be read again") {
					t.Errorf("in the end it has warned %q", d.warnings)
				}
			})
		})
	}
}

func TestUnreadableReadingIsDroppedAfterTenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{})
		fillUp(t, d, 2)
		began, broken := time.Now(), true
		d.disk.fails(func(op, _ string, _ int) error {
			if op == "read" && broken {
				return syscall.EIO
			}
			return nil
		})
		for len(d.drops) == 0 {
			for range 100 { // however often it is asked
				d.Peek(0)
			}
			broken = time.Since(began) < 8*time.Second || len(d.drops) == 0
			<-d.Changed()
		}
		if took := time.Since(began); took < 5*time.Second || took > 20*time.Second {
			t.Errorf("dropped after %v", took)
		}
		broken = false
		want(t, "dropped", d.drops, []string{"1 damaged"})
		d.Leave(2)
		want(t, "the next", handedOut(d), []string{"2:1"})
	})
}

func TestDiskTroubleIsNotOverUntilSomethingIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{Limits: Limits{Full: Block}})
		fillUp(t, d, 2)
		d.disk.breaks(syscall.EIO, "write", "create")
		d.deliver()
		time.Sleep(10 * time.Second)
		d.Peek(1)
		d.Leave(2)
		time.Sleep(10 * time.Second)
		d.warned(1)
		d.disk.breaks(nil)
		time.Sleep(10 * time.Second)
		d.warned(2)
	})
}

func TestUnreadableReadingInQuarantineStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{})
		fillUp(t, d, 2)
		d.Peek(0)
		d.disk.breaks(syscall.EIO, "read")
		d.Quarantine(1, errors.New("bad"))
		synctest.Wait()
		fillUp(t, d, 1)
		time.Sleep(time.Minute)
		d.disk.breaks(nil)
		want(t, "the queue", handedOut(d), []string{"2:1", "3"})
		want(t, "dropped", d.drops, []string{"1 quarantined"})
	})
}

func TestSegmentThatTheLogDeletedIsNoDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{segmentSize: 1})
		fillUp(t, d, 1) // never acknowledged
		for range 3 {
			if _, err := d.Put(t.Context(), of(strings.Repeat("longer", 50)), Stamp{}); err != nil {
				t.Fatal(err)
			}
			d.Peek(1)
			d.Remove(d.Last())
			time.Sleep(time.Minute)
			d.reboot()
			d.warned(0)
		}
		if names := d.disk.names(suffix); len(names) > 3 {
			t.Errorf("%v", names)
		}
	})
}

func TestClosedLogHandsNothingOut(t *testing.T) {
	d := boot(t, Options{})
	fillUp(t, d, 1)
	d.Close()
	if e, ok := d.Peek(0); ok {
		t.Errorf("handed out %s", e.ID)
	}
}

func TestPutCancelledBeforeItsWriteLeavesNothing(t *testing.T) {
	for _, every := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			d := boot(t, Options{Sync: every})
			d.disk.fails(func(op, _ string, _ int) error {
				if op == "write" {
					time.Sleep(10 * time.Second)
				}
				return nil
			})
			within := func(limit time.Duration) chan error {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				done := waiter(ctx, d)
				context.AfterFunc(ctx, cancel)
				return done
			}
			first := within(time.Hour)
			queued := within(time.Second)
			began := time.Now()
			if err := <-queued; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
				t.Errorf("after %v Put returns %v", time.Since(began), err)
			}
			writing := within(time.Hour) // until the first is written
			want(t, "put", []error{<-first, <-writing}, []error{nil, nil})
			slow := within(time.Second)
			began = time.Now()
			if err := <-slow; err != nil || time.Since(began) < 10*time.Second {
				t.Errorf("while it is written, Put returns %v after %v", err, time.Since(began))
			}
			time.Sleep(every)
			time.Sleep(time.Minute)
			want(t, "kept", handedOut(d), []string{"1", "2", "3"})
			want(t, "dropped", len(d.drops), 0)
		})
	}
}

func TestRefusedNumberIsNotUsedAgainAfterAKill(t *testing.T) {
	for _, full := range []Policy{DropNewest, DropOldest, Block} {
		synctest.Test(t, func(t *testing.T) {
			disk := newDisk()
			alive := &process{fakeDisk: disk}
			l, err := Open("", Options{Files: alive, Limits: Limits{Readings: 2, Bytes: 1000, Full: full}})
			if err != nil {
				t.Fatal(err)
			}
			fillUp(t, l, 2)
			if _, err := l.Put(t.Context(), of(strings.Repeat("x", 1000)), Stamp{}); !errors.Is(err, ErrFull) {
				t.Errorf("%s: Put returns %v", full, err)
			}
			alive.kill() // at once
			l.Close()
			d := boot(t, Options{})
			d.Close()
			d.disk, d.o.Files, d.Log = disk, disk, nil
			d.reboot()
			fillUp(t, d, 1)
			want(t, string(full)+": after the kill", handedOut(d), []string{"1", "2", "4:3"})
		})
	}
}

func TestDropIsAnnouncedOnlyOnceItsNumberIsOnTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{Sync: time.Hour, Limits: Limits{Readings: 1, Full: DropNewest}})
		fillUp(t, d, 1)
		if _, err := d.Put(t.Context(), of("more"), Stamp{}); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		want(t, "heard of before the sync", len(d.heard()), 0)
		time.Sleep(2 * time.Hour)
		want(t, "heard of", d.heard(), []string{"2 full"})
		d.disk.breaks(syscall.EIO, "write", "create")
		if _, err := d.Put(t.Context(), of("more"), Stamp{}); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		want(t, "on a broken disk", d.heard(), []string{"2 full", "0 full"})
	})
}

func TestDropOldestMakesRoomAmongUnsyncedReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{Sync: time.Hour, Limits: Limits{Readings: 3}})
		began := time.Now()
		fillUp(t, d, 8)
		want(t, "it took", time.Since(began), 0)
		want(t, "dropped", d.drops, []string{"1 full", "2 full", "3 full", "4 full", "5 full"})
		syncs := d.disk.count("sync")
		if syncs > 4 {
			t.Errorf("%d syncs", syncs)
		}
		d.disk.breaks(syscall.EIO, "sync")
		fresh := 0
		for range 10 {
			if _, err := d.Put(t.Context(), of("more"), Stamp{}); err == nil {
				fresh++
			} else if !errors.Is(err, ErrFull) && !errors.Is(err, DiskFull) {
				t.Error(err)
			}
		}
		if fresh > 3 {
			t.Errorf("%d were accepted, and nothing can be made safe", fresh)
		}
		d.disk.breaks(nil)
		time.Sleep(2 * time.Hour)
		fillUp(t, d, 1)
	})
}

func TestDropOldestMakesRoomAmongReadingsThatAreBeingWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{Limits: Limits{Readings: 5}})
		d.disk.fails(func(op, _ string, _ int) error {
			if op == "sync" {
				time.Sleep(time.Second)
			}
			return nil
		})
		var puts []chan error
		for range 50 {
			puts = append(puts, waiter(t.Context(), d))
		}
		for _, done := range puts {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		want(t, "dropped", len(d.drops), 45)
	})
}

func TestFailingDiskRefusesAtOnceHoweverMuchIsToBeWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{Sync: time.Hour, Limits: Limits{Full: DropNewest}})
		large := of(strings.Repeat("x", 1_000_000)) // two do not fit into one write
		for range 2 {
			if _, err := d.Put(t.Context(), large, Stamp{}); err != nil {
				t.Fatal(err)
			}
		}
		d.disk.breaks(syscall.EIO, "write", "create")
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if _, err := d.Put(ctx, of("more"), Stamp{}); !errors.Is(err, DiskFull) {
				t.Errorf("Put returns %v", err)
			}
			cancel()
		}
		d.disk.breaks(nil)
		time.Sleep(3 * time.Hour)
		want(t, "kept", handedOut(d), []string{"1", "2"})
	})
}

func TestDroppedSegmentIsNamedEvenIfTheProcessIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk()
		alive := &process{fakeDisk: disk}
		l, err := Open("", Options{Files: alive, segmentSize: 200})
		if err != nil {
			t.Fatal(err)
		}
		fillUp(t, l, 20)
		disk.fails(func(op, _ string, _ int) error {
			switch op {
			case "write":
				return syscall.ENOSPC
			case "remove":
				alive.kill() // as soon as it has been removed
			}
			return nil
		})
		if _, err := l.Put(t.Context(), of("lost"), Stamp{}); err == nil {
			t.Error("it was written")
		}
		l.Close()
		disk.fails(nil)
		o := Options{Files: disk}
		if l, err = Open("", o); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		fillUp(t, l, 1)
		all := handedOut(l)
		first, missing, _ := strings.Cut(all[0], ":")
		if n, err := strconv.Atoi(first); err != nil || n == 1 || missing != fmt.Sprintf("1-%d", n-1) {
			t.Errorf("handed out are %v", all)
		}
	})
}

func TestPutCancelledDuringAFailedWriteLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{Limits: Limits{Full: Block}})
		fillUp(t, d, 1)
		d.disk.fails(func(op, _ string, _ int) error {
			if op == "write" {
				time.Sleep(10 * time.Second)
				return syscall.EIO
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := d.Put(ctx, of("slow"), Stamp{}); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(began) > 11*time.Second {
			t.Errorf("Put returns %v after %v", err, time.Since(began))
		}
		d.disk.breaks(nil)
		fillUp(t, d, 1)
		want(t, "kept", handedOut(d), []string{"1", "2"})
	})
}

func TestDropsBeyondTheHistoryStayDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := boot(t, Options{Limits: Limits{Age: time.Hour}, Sync: time.Second})
		const count = 3 * maxKnownDrops
		fillUp(t, d, count)
		time.Sleep(2 * time.Second)
		handedOut(d)
		for n := uint64(2); n <= count; n++ { // 1 is in flight, so that the segment stays
			if n%2 == 0 {
				d.Remove(n)
			} else {
				d.Leave(n)
			}
		}
		time.Sleep(2 * time.Hour)
		want(t, "handed out", len(handedOut(d)), 0)
		want(t, "dropped", len(d.drops), count/2-1)
		d.o.Limits.Age = 0
		d.reboot()
		want(t, "after a restart", handedOut(d), []string{"1"})
	})
}
