package outbox

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"giantlizard.example/failover/payloads"
)

// A model is what an outbox should be: a few sets of numbers.
type model struct {
	limits    Limits
	disk      bool // its time of putting counts whole seconds
	size      func(n uint64, r payloads.Reading) int
	last      uint64
	kept      map[uint64]*expected
	dropped   map[uint64]Reason
	told      map[uint64]bool      // by a reading that has arrived
	uncertain map[uint64]*expected // acknowledged or dropped so lately that a kill may undo it
	forgets   bool                 // a kill has undone something, so that readings may be told twice
}

type expected struct {
	body []byte
	size int
	put  time.Time
	away bool
	told []uint64 // by the properties with which it was handed out
}

func (m *model) usage() (readings, bytes int) {
	for _, e := range m.kept {
		bytes += e.size
	}
	return len(m.kept), bytes
}

// oldest is the oldest number above another that waits, 0 when none does.
func (m *model) oldest(after uint64) uint64 {
	for _, n := range slices.Sorted(maps.Keys(m.kept)) {
		if n > after && !m.kept[n].away {
			return n
		}
	}
	return 0
}

func (m *model) drop(n uint64, why Reason) {
	m.uncertain[n] = m.kept[n]
	m.dropped[n] = why
	delete(m.kept, n)
}

func (m *model) expire(now time.Time) {
	if m.limits.Age <= 0 {
		return
	}
	for n := m.oldest(0); n != 0 && now.Sub(m.kept[n].put) > m.limits.Age; n = m.oldest(0) {
		m.drop(n, TooOld)
	}
}

// put says what becomes of a reading that is put now and may wait until a deadline.
func (m *model) put(now, deadline time.Time, r payloads.Reading) error {
	size := m.size(m.last+1, r)
	for {
		m.expire(now)
		readings, bytes := m.usage()
		oldest := m.oldest(0)
		switch {
		case size > m.limits.Bytes:
		case readings < m.limits.Readings && bytes+size <= m.limits.Bytes:
			m.last++
			if m.disk {
				now = now.Truncate(time.Second)
			}
			m.kept[m.last] = &expected{body: r.Body, size: size, put: now}
			clear(m.uncertain)
			return nil
		case m.limits.Full == Block:
			if oldest == 0 || m.limits.Age == 0 || m.kept[oldest].put.Add(m.limits.Age).After(deadline) {
				return context.DeadlineExceeded
			}
			now = m.kept[oldest].put.Add(m.limits.Age + 1)
			continue
		case m.limits.Full == DropOldest && oldest != 0:
			m.drop(oldest, NoRoom)
			continue
		}
		m.last++
		m.drop(m.last, NoRoom)
		clear(m.uncertain) // Put has waited for it
		return ErrFull
	}
}

// A subject is an outbox under test beside its model.
type subject struct {
	*rapid.T
	model
	box   Outbox
	log   *Log // nil: the box is a Memory
	o     Options
	files *fakeDisk
	alive *process
	heard map[uint64]Reason
	epoch string
}

func (s *subject) hear(d Drop) {
	for n := d.Numbers.First; n <= d.Numbers.Last; n++ {
		if _, twice := s.heard[n]; twice {
			s.Errorf("Dropped heard of %d twice", n)
		}
		s.heard[n] = d.Reason()
	}
	if s.epoch != "" && d.Epoch != s.epoch {
		s.Errorf("Dropped heard of the epoch %s", d.Epoch)
	}
}

func (s *subject) warned(err error) {
	if !s.alive.dead() {
		s.Errorf("warned: %v", err)
	}
}

func (s *subject) open() {
	s.alive = &process{fakeDisk: s.files}
	s.o.Files = s.alive
	l, err := Open("outbox", s.o)
	if err != nil {
		s.Fatal(err)
	}
	s.box, s.log = l, l
}

// pause lets time pass, and what is due happen.
func (s *subject) pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	if d > recordDelay {
		clear(s.uncertain)
	}
}

// align waits for the next whole second, so that no two things are due at once.
func (s *subject) align() {
	now := time.Now()
	s.pause(now.Truncate(time.Second).Add(time.Second).Sub(now) % time.Second)
}

func (s *subject) Put(*rapid.T) {
	r := payloads.Reading{Body: rapid.SliceOfN(rapid.Byte(), 0, 150).Draw(s.T, "body")}
	now := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 2500*time.Millisecond)
	defer cancel()
	id, err := s.box.Put(ctx, r, Stamp{})
	want := s.model.put(now, now.Add(2500*time.Millisecond), r)
	if !errors.Is(err, want) {
		s.Fatalf("Put returned %v, not %v", err, want)
	}
	if err == nil && id.N != s.last {
		s.Fatalf("Put gave the number %d, not %d", id.N, s.last)
	}
	if err == nil {
		if s.epoch != "" && s.epoch != id.Epoch {
			s.Fatalf("the epoch %s became %s", s.epoch, id.Epoch)
		}
		s.epoch = id.Epoch
	}
	s.pause(s.o.Sync)
	s.align()
}

func (s *subject) Peek(*rapid.T) {
	after := rapid.Uint64Range(0, s.last+1).Draw(s.T, "after")
	if rapid.Bool().Draw(s.T, "first") {
		after = 0
	}
	s.peek(after)
}

func (s *subject) peek(after uint64) bool {
	s.expire(time.Now())
	e, ok := s.box.Peek(after)
	want := s.oldest(after)
	if !ok || want == 0 {
		if ok || want != 0 {
			s.Fatalf("Peek(%d) gave %d, %v; want %d", after, e.ID.N, ok, want)
		}
		return false
	}
	k := s.kept[want]
	if e.ID.N != want || !slices.Equal(e.Reading.Body, k.body) {
		s.Fatalf("Peek(%d) gave %d, %q; want %d, %q", after, e.ID.N, e.Reading.Body, want, k.body)
	}
	k.away, k.told = true, s.named(e)
	return true
}

// named are the numbers that a reading names as missing.
func (s *subject) named(e Reading) (numbers []uint64) {
	text := e.Reading.Properties[MissingProperty]
	if len(text) > noticeLimit {
		s.Errorf("reading %d names %d bytes", e.ID.N, len(text))
	}
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		from, to, _ := strings.Cut(part, "-")
		if to == "" {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 64)
		last, err2 := strconv.ParseUint(to, 10, 64)
		if err != nil || err2 != nil || last < first || last >= e.ID.N {
			s.Fatalf("reading %d names %q", e.ID.N, text)
		}
		for n := first; n <= last; n++ {
			if _, ok := s.dropped[n]; !ok {
				s.Errorf("reading %d names %d, which was not dropped", e.ID.N, n)
			}
			if s.told[n] && !s.forgets {
				s.Errorf("reading %d names %d again", e.ID.N, n)
			}
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// one returns a number that is in flight, or any other when none is.
func (s *subject) one() uint64 {
	var away []uint64
	for n, e := range s.kept {
		if e.away {
			away = append(away, n)
		}
	}
	if len(away) == 0 {
		return rapid.Uint64Range(0, s.last+1).Draw(s.T, "any")
	}
	slices.Sort(away)
	return rapid.SampledFrom(away).Draw(s.T, "away")
}

func (s *subject) Remove(*rapid.T) { s.remove(s.one()) }

func (s *subject) remove(n uint64) {
	s.box.Remove(n)
	if e := s.kept[n]; e != nil && e.away {
		s.uncertain[n] = e
		delete(s.kept, n)
		for _, told := range e.told {
			s.told[told] = true
		}
	}
}

func (s *subject) Leave(*rapid.T) {
	n := s.one()
	s.box.Leave(n)
	if e := s.kept[n]; e != nil {
		e.away, e.told = false, nil
	}
}

func (s *subject) Quarantine(*rapid.T) {
	n := s.one()
	s.box.Quarantine(n, errors.New("bad"))
	s.box.Remove(n) // too late, as an acknowledgement may be
	synctest.Wait()
	if e := s.kept[n]; e != nil && e.away {
		s.drop(n, Quarantined)
		delete(s.uncertain, n)
	}
}

func (s *subject) TimePasses(*rapid.T) {
	s.pause(time.Duration(rapid.IntRange(1, 4).Draw(s.T, "seconds")) * time.Second)
}

func (s *subject) Reopen(*rapid.T) {
	if s.log == nil {
		return
	}
	if err := s.box.Close(); err != nil {
		s.Fatal(err)
	}
	clear(s.uncertain)
	s.atRest()
	for _, e := range s.kept {
		e.away, e.told = false, nil
	}
	s.open()
}

func (s *subject) Kill(*rapid.T) {
	if s.log == nil {
		return
	}
	s.alive.kill()
	s.box.Close() // in vain
	for _, e := range s.kept {
		e.away, e.told = false, nil
	}
	snapshot, err := readFiles("outbox", s.files)
	if err != nil {
		s.Fatal(err)
	}
	for n, e := range s.uncertain {
		reason, dropped := s.dropped[n]
		recorded := slices.ContainsFunc(snapshot.Dropped, func(d Drop) bool {
			return d.Numbers.First <= n && n <= d.Numbers.Last && d.Reason() == reason
		})
		if snapshot.IsPending(n) {
			e.away, e.told = false, nil
			s.kept[n] = e
		}
		if dropped && !recorded {
			delete(s.dropped, n)
			delete(s.heard, n)
		}
		s.forgets = true
	}
	clear(s.uncertain)
	s.atRest()
	s.open()
}

// atRest compares what stands in the files with what should.
func (s *subject) atRest() {
	snapshot, err := readFiles("outbox", s.files)
	if err != nil {
		s.Fatal(err)
	}
	dropped := map[uint64]Reason{}
	for _, d := range snapshot.Dropped {
		for n := d.Numbers.First; n <= d.Numbers.Last; n++ {
			dropped[n] = d.Reason()
		}
	}
	if !maps.Equal(dropped, s.dropped) {
		s.Errorf("the files say that %v were dropped, not %v", dropped, s.dropped)
	}
	var waiting []uint64
	for e := range snapshot.Pending() {
		waiting = append(waiting, e.ID.N)
	}
	if want := slices.Sorted(maps.Keys(s.kept)); !slices.Equal(waiting, want) {
		s.Errorf("%v wait in the files, not %v", waiting, want)
	}
	if readings, bytes := s.usage(); snapshot.Readings != readings || snapshot.Bytes != bytes ||
		snapshot.Last != s.last {
		s.Errorf("the files have %d readings, %d bytes, the last %d; want %d, %d, %d",
			snapshot.Readings, snapshot.Bytes, snapshot.Last, readings, bytes, s.last)
	}
	if len(snapshot.Damages) > 0 {
		s.Error(snapshot.Damages)
	}
}

// Check compares the outbox with the model after each step.
func (s *subject) Check(*rapid.T) {
	synctest.Wait()
	readings, bytes := s.box.Pending()
	if wantReadings, wantBytes := s.usage(); readings != wantReadings || bytes != wantBytes {
		s.Fatalf("%d readings, %d bytes wait; want %d, %d", readings, bytes, wantReadings, wantBytes)
	}
	if readings > s.limits.Readings || bytes > s.limits.Bytes {
		s.Fatalf("%d readings, %d bytes wait, which is more than %+v", readings, bytes, s.limits)
	}
	if s.box.Last() != s.last {
		s.Fatalf("the last is %d, not %d", s.box.Last(), s.last)
	}
	if !reflect.DeepEqual(s.heard, s.dropped) {
		s.Fatalf("Dropped heard of %v, not %v", s.heard, s.dropped)
	}
}

// tidy wants no segment in which nothing waits, but for the newest, once the log has written anything.
func (s *subject) tidy() {
	// The record of a removal may fill the newest segment, so that another one follows, and so on.
	s.pause(5 * (recordDelay + s.o.Sync))
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	names := s.files.names(suffix)
	if len(names) != len(s.log.disk.segments) {
		s.Errorf("the files %v are there for %d segments", names, len(s.log.disk.segments))
	}
	newest := s.log.disk.segments[max(0, len(s.log.disk.segments)-1):]
	for i, seg := range s.log.disk.segments {
		if newest[0].writing.Load() && seg.live == 0 && i < len(s.log.disk.segments)-1 {
			s.Errorf("nothing in %s waits, and it is kept", seg.name)
		}
	}
}

// drain delivers everything, and wants to have been told in the end of all that was dropped.
func (s *subject) drain() {
	for n, e := range s.kept {
		if e.away {
			s.box.Leave(n)
			e.away, e.told = false, nil
		}
	}
	for s.peek(0) {
		for n, e := range s.kept {
			if e.away {
				s.remove(n)
			}
		}
	}
	if readings, bytes := s.box.Pending(); readings != 0 || bytes != 0 {
		s.Fatalf("all is delivered, and %d readings, %d bytes wait", readings, bytes)
	}
	for range 200 {
		if len(s.told) >= len(s.dropped) {
			break
		}
		if _, err := s.box.Put(context.Background(), payloads.Reading{}, Stamp{}); err != nil {
			return // not even an empty one fits
		}
		_ = s.model.put(time.Now(), time.Now(), payloads.Reading{})
		s.pause(s.o.Sync)
		s.peek(0)
		s.remove(s.last)
	}
	for n := range s.dropped {
		if !s.told[n] {
			s.Fatalf("%d was dropped, and no reading that arrived names it", n)
		}
	}
}

func draw(t *rapid.T) Limits {
	return Limits{
		Readings: rapid.IntRange(1, 30).Draw(t, "readings"),
		Bytes:    rapid.IntRange(100, 3000).Draw(t, "bytes"),
		Age:      time.Duration(rapid.SampledFrom([]int{0, 3, 10, 40}).Draw(t, "age")) * time.Second,
		Full:     rapid.SampledFrom([]Policy{DropOldest, DropNewest, Block}).Draw(t, "full"),
	}
}

func subjectOf(t *rapid.T) *subject {
	return &subject{T: t, heard: map[uint64]Reason{}, model: model{
		limits: draw(t), kept: map[uint64]*expected{}, dropped: map[uint64]Reason{}, told: map[uint64]bool{},
		uncertain: map[uint64]*expected{},
	}}
}

func (s *subject) actions() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"": s.Check, "Put": s.Put, "PutAnother": s.Put, "PutAThird": s.Put, "Peek": s.Peek, "PeekAnother": s.Peek,
		"Remove": s.Remove,
		"Leave":  s.Leave, "Quarantine": s.Quarantine, "TimePasses": s.TimePasses,
	}
	if s.log != nil {
		actions["Reopen"], actions["Kill"] = s.Reopen, s.Kill
	}
	return actions
}

func (s *subject) end(t *rapid.T) {
	s.drain()
	s.box.Seal()
	if _, err := s.box.Put(context.Background(), payloads.Reading{}, Stamp{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a sealed outbox returns %v", err)
	}
}

// bubbled hides the test's Deadline from rapid, which may not be asked for in a bubble.
type bubbled struct{ *testing.T }

func TestMemoryBehavesLikeTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubbled{t}, func(t *rapid.T) {
			s := subjectOf(t)
			s.size = func(_ uint64, r payloads.Reading) int { return sizeOf(r) }
			s.box = NewMemory(Options{Limits: s.limits, Dropped: s.hear})
			defer s.box.Close()
			t.Repeat(s.actions())
			s.end(t)
		})
	})
}

func TestLogBehavesLikeTheModelThroughRestartsAndKills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubbled{t}, func(t *rapid.T) {
			s := subjectOf(t)
			s.disk, s.files = true, newDisk()
			s.o = Options{
				Limits: s.limits, Dropped: s.hear, Warn: s.warned,
				Sync:        time.Duration(rapid.IntRange(0, 1).Draw(t, "sync")) * time.Second,
				segmentSize: int64(rapid.IntRange(200, 1500).Draw(t, "segment")),
			}
			s.open()
			defer func() { s.box.Close() }()
			epoch := s.log.epoch
			s.size = func(n uint64, r payloads.Reading) int {
				return frameHead + len(appendReading(nil, Reading{ID{epoch, n}, r, Stamp{}}, time.Now()))
			}
			t.Repeat(s.actions())
			if s.last > 0 {
				s.remove(s.last)
				s.tidy()
			}
			s.end(t)
		})
	})
}
