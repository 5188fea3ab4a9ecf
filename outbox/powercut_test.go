package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/payloads"
)

// A ledger is what a device knows of its readings: what a power cut must leave is checked against it.
type ledger struct {
	mu        sync.Mutex
	epoch     string              // of what was accepted
	bodies    map[string]bool     // of every reading that was ever offered
	pending   map[ID]string       // Put has returned, and the disk need not have it yet
	accepted  map[uint64]string   // the disk has it
	gone      map[uint64]bool     // acknowledged or dropped: may be there or not
	leaving   map[uint64]bool     // gone since the log was opened, and the disk need not know it yet
	over      map[uint64]bool     // the disk knows that it is gone
	condemned map[uint64]bool     // in the queue or the quarantine
	refused   map[uint64]bool     // heard of, and never accepted
	sent      map[ID]string       // handed out
	named     map[uint64]struct{} // as missing, by what was handed out
}

func newLedger() *ledger {
	return &ledger{
		bodies: map[string]bool{}, pending: map[ID]string{}, accepted: map[uint64]string{}, gone: map[uint64]bool{},
		leaving: map[uint64]bool{}, over: map[uint64]bool{}, condemned: map[uint64]bool{}, refused: map[uint64]bool{},
		sent: map[ID]string{}, named: map[uint64]struct{}{},
	}
}

// clone is called with the lock held.
func (k *ledger) clone() *ledger {
	return &ledger{
		epoch: k.epoch, bodies: maps.Clone(k.bodies), pending: maps.Clone(k.pending), accepted: maps.Clone(k.accepted),
		gone: maps.Clone(k.gone), leaving: maps.Clone(k.leaving), over: maps.Clone(k.over),
		condemned: maps.Clone(k.condemned), refused: maps.Clone(k.refused),
		sent: maps.Clone(k.sent), named: maps.Clone(k.named),
	}
}

// locked does something with the lock held.
func (k *ledger) locked(what func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	what()
}

func (k *ledger) accept(id ID, body string) {
	k.epoch = id.Epoch
	k.accepted[id.N] = body
	delete(k.pending, id)
}

// settle is called when the disk has had the time to take everything in.
func (k *ledger) settle() {
	for id, body := range k.pending {
		k.accept(id, body)
	}
	maps.Copy(k.over, k.leaving)
	clear(k.leaving)
}

// drop notes a number that was dropped.
func (k *ledger) drop(id ID) {
	if _, pending := k.pending[id]; !pending && k.accepted[id.N] == "" {
		k.refused[id.N] = true
	}
	k.leave(id.N)
}

// leave notes that a reading is acknowledged or dropped.
func (k *ledger) leave(n uint64) { k.gone[n], k.leaving[n] = true, true }

// forget is called after a power cut: what was in memory is gone.
func (k *ledger) forget() {
	clear(k.pending)
	clear(k.leaving)
	for n := range k.gone {
		if k.accepted[n] == "" {
			delete(k.gone, n)
		}
	}
}

// handedOut notes a reading that Peek has returned, and says what is wrong with it.
func (k *ledger) handedOut(e Reading) error {
	body := string(e.Reading.Body)
	switch was, ok := k.sent[e.ID]; {
	case !k.bodies[body]:
		return fmt.Errorf("%s is %q, which nobody has put", e.ID, body)
	case ok && was != body:
		return fmt.Errorf("%s was handed out with %q, and now with %q", e.ID, was, body)
	case k.epoch != "" && e.ID.Epoch != k.epoch:
		return fmt.Errorf("%s is of another epoch than %s", e.ID, k.epoch)
	case k.accepted[e.ID.N] != "" && k.accepted[e.ID.N] != body:
		return fmt.Errorf("%s was put as %q, and is now %q", e.ID, k.accepted[e.ID.N], body)
	case k.refused[e.ID.N]:
		return fmt.Errorf("%s was refused, and is %q", e.ID, body)
	case k.over[e.ID.N]:
		return fmt.Errorf("%s is back, and the disk knew that it was gone", e.ID)
	}
	k.sent[e.ID] = body
	k.accept(e.ID, body)
	for _, r := range numbersIn(e.Reading.Properties[MissingProperty]) {
		for n := r.First; n <= r.Last; n++ {
			k.named[n] = struct{}{}
		}
	}
	return nil
}

// numbersIn reads a text like "17-20,25".
func numbersIn(text string) (all ranges) {
	for _, part := range strings.Split(text, ",") {
		var r Range
		if n, _ := fmt.Sscanf(part, "%d-%d", &r.First, &r.Last); n == 1 {
			r.Last = r.First
		}
		if r.First > 0 {
			all.add(r)
		}
	}
	return all
}

// all hands out everything that waits, and checks it.
func (k *ledger) all(l *Log) (entries []Reading, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := uint64(0)
	for e, ok := l.Peek(0); ok; e, ok = l.Peek(0) {
		if e.ID.N <= last {
			return nil, fmt.Errorf("%d came after %d", e.ID.N, last)
		}
		if err := k.handedOut(e); err != nil {
			return nil, err
		}
		entries, last = append(entries, e), e.ID.N
	}
	return entries, nil
}

// check tells what an image lacks, or has too much.
func (k *ledger) check(image *cutDisk) error {
	var complaint error
	complain := func(err error) {
		if !errors.As(err, new(Torn)) { // which a power cut leaves
			complaint = errors.Join(complaint, err)
		}
	}
	o := Options{Warn: complain, segmentSize: 700}
	o.Dropped = func(d Drop) { complaint = errors.Join(complaint, fmt.Errorf("it drops %v", d)) }
	for _, files := range []Files{readOnly{image}, image} {
		o.Files = files
		if err := k.clone().checkOne(o, image); err != nil {
			return fmt.Errorf("on %T: %w", files, err)
		}
		if files == Files(image) && complaint != nil {
			return complaint
		}
		complaint = nil
	}
	return nil
}

func (k *ledger) checkOne(o Options, image *cutDisk) error {
	s, err := readFiles("", image)
	if err != nil || len(s.Damages) > 0 {
		return fmt.Errorf("a power cut is no damage: %v %v", s.Damages, err)
	}
	quarantine := map[uint64]string{}
	for q, err := range s.Quarantined() {
		if err == nil { // else it was being written, and the reading is in the queue
			quarantine[q.ID.N] = string(q.Reading.Body)
		}
	}
	l, err := Open("", o)
	if err != nil {
		return err
	}
	defer l.Close()
	entries, err := k.all(l)
	if err != nil {
		return err
	}
	there := map[uint64]string{}
	for _, e := range entries {
		there[e.ID.N] = string(e.Reading.Body)
	}
	for n, body := range k.accepted {
		switch {
		case there[n] == body || k.gone[n]:
		case k.condemned[n] && quarantine[n] == body:
		default:
			return fmt.Errorf("%d was accepted and is not there (quarantine: %q)", n, quarantine[n])
		}
	}
	if s.Readings != len(entries) {
		return fmt.Errorf("a look at it counts %d readings, and %d wait", s.Readings, len(entries))
	}
	if o.Files != Files(image) {
		return nil
	}
	return k.goesOn(l, o, len(entries))
}

// goesOn checks that a log takes readings as before, and keeps them.
func (k *ledger) goesOn(l *Log, o Options, waiting int) error {
	k.bodies["the next"] = true
	id, err := l.Put(context.Background(), payloads.Reading{Body: []byte("the next")}, Stamp{})
	if err != nil {
		return err
	}
	for n := range k.accepted {
		if k.epoch != id.Epoch || n >= id.N {
			return fmt.Errorf("the next is %s, and there was %s-%d", id, k.epoch, n)
		}
	}
	for n := range k.refused {
		if n >= id.N {
			return fmt.Errorf("the next is %s, and %d was refused", id, n)
		}
	}
	if err := l.Close(); err != nil {
		return err
	}
	again, err := Open("", o)
	if err != nil {
		return err
	}
	defer again.Close()
	entries, err := k.all(again)
	if err != nil || len(entries) != waiting+1 || entries[waiting].ID != id {
		return fmt.Errorf("opened again, %d of %d wait: %v", len(entries), waiting+1, err)
	}
	return nil
}

// A life is a device on its disk, up to a power cut, its end or the next.
type life struct {
	random *rand.Rand
	looks  *rand.Rand // has the lock of know
	know   *ledger
	disk   *cutDisk
	o      Options
	log    *Log
	away   []uint64
	count  int // of readings put
	images []image
	every  int  // of so many changes of the disk, one is looked at
	fails  bool // the disk fails at times
}

// An image is a disk at a moment, and what the device knew then.
type image struct {
	disk *cutDisk
	know *ledger
}

func newLife(seed uint64, deaf string) *life {
	random := rand.New(rand.NewPCG(seed, 17))
	v := &life{random: random, looks: rand.New(rand.NewPCG(seed, 18)), know: newLedger(), disk: newCutDisk(), every: 5}
	v.disk.deaf = deaf
	v.o = Options{segmentSize: int64(300 + random.IntN(3000))}
	if seed%3 == 1 {
		v.o.Sync = 10 * time.Second
	}
	if seed%5 == 2 {
		v.o.Limits = Limits{Readings: 10 + random.IntN(20), Full: []Policy{DropOldest, DropNewest}[random.IntN(2)]}
	}
	if v.fails = seed%4 == 3; v.fails && v.o.Limits.Full == "" && seed%8 == 3 {
		v.o.Limits.Full = Block
	}
	v.o.Dropped = func(d Drop) {
		for n := max(d.Numbers.First, 1); n <= d.Numbers.Last; n++ {
			if d.Reason() != Quarantined {
				v.know.locked(func() { v.know.drop(ID{d.Epoch, n}) })
			}
		}
	}
	return v
}

func (v *life) open() error {
	v.disk.after = v.look
	v.o.Files = v.disk
	log, err := Open("", v.o)
	v.log, v.away = log, nil
	synctest.Wait()
	return err
}

// look keeps some of the moments.
func (v *life) look() {
	v.know.mu.Lock()
	defer v.know.mu.Unlock()
	if v.looks.IntN(v.every) == 0 {
		v.disk.mu.Lock()
		defer v.disk.mu.Unlock()
		v.images = append(v.images, image{v.disk.clone(), v.know.clone()})
	}
}

// put puts some readings in one commit.
func (v *life) put() {
	v.log.mu.Lock()
	v.log.disk.retryAt = time.Now().Add(time.Millisecond) // so that they come together
	v.log.mu.Unlock()
	var items []*putCall
	for range 1 + v.random.IntN(4) {
		v.count++
		body := fmt.Sprintf("%d %s", v.count,
			strings.Repeat("x", v.random.IntN([]int{20, 400, 1500}[v.random.IntN(3)])))
		v.know.locked(func() { v.know.bodies[body] = true })
		if it, err := v.log.startPut(context.Background(), payloads.Reading{Body: []byte(body)}, Stamp{}); err == nil {
			items = append(items, it)
		}
	}
	for _, it := range items {
		err := <-it.done
		v.know.locked(func() {
			switch body := string(it.reading.Reading.Body); {
			case err == nil && v.o.Sync == 0:
				v.know.accept(it.reading.ID, body)
			case err == nil:
				v.know.pending[it.reading.ID] = body
			}
		})
	}
}

func (v *life) peek() (err error) {
	for range 1 + v.random.IntN(6) {
		e, ok := v.log.Peek(0)
		if !ok {
			return nil
		}
		v.away = append(v.away, e.ID.N)
		v.know.locked(func() { err = v.know.handedOut(e) })
		if err != nil {
			return err
		}
	}
	return nil
}

// end takes one that is in flight, and says what became of it.
func (v *life) end() {
	if len(v.away) == 0 {
		return
	}
	i := v.random.IntN(len(v.away))
	n := v.away[i]
	v.away = slices.Delete(v.away, i, i+1)
	switch v.random.IntN(8) {
	case 0:
		v.log.Leave(n)
	case 1:
		v.know.locked(func() { v.know.condemned[n] = true })
		v.log.Quarantine(n, errors.New("too bad"))
	default:
		v.know.locked(func() { v.know.leave(n) })
		v.log.Remove(n)
	}
}

// step does one thing, and waits until it is done.
func (v *life) step() (err error) {
	if v.fails && v.random.IntN(10) == 0 {
		v.disk.mu.Lock()
		v.disk.broken = 1 + v.random.IntN(2)
		v.disk.mu.Unlock()
	}
	switch what := v.random.IntN(20); {
	case what < 6:
		v.put()
	case what < 10:
		err = v.peek()
	case what < 17:
		for range 1 + v.random.IntN(4) {
			v.end()
			synctest.Wait()
		}
	case what < 19:
		time.Sleep(recordDelay + v.o.Sync + 2*time.Millisecond)
		if v.fails {
			time.Sleep(4*retryDelay + 2*v.o.Sync) // until it is written all the same
		}
		synctest.Wait()
		v.know.locked(v.know.settle)
	default:
		err = v.reopen()
	}
	synctest.Wait()
	return err
}

// reopen ends the process, in good order or not, and starts it again.
func (v *life) reopen() error {
	kept := v.disk
	if v.random.IntN(2) == 0 && !v.fails { // else it could not be written in good order
		if err := v.log.Close(); err != nil {
			return err
		}
		v.know.locked(v.know.settle)
	} else {
		kept = v.killed()
		v.know.locked(func() {
			clear(v.know.leaving)
			if v.fails { // what was not safe may have waited in memory to be written again
				clear(v.know.pending)
			}
		})
	}
	v.disk = kept
	return v.open()
}

// killed ends the process in the midst of it. What it has written is there, and what was synced is
// safe from a power cut.
func (v *life) killed() *cutDisk {
	kept := v.disk.clone()
	v.disk.after = func() {}
	v.log.options.Dropped = func(Drop) {}
	v.log.Close()
	return kept
}

// run lives through some power cuts, and checks what is left at many moments. It returns how many
// images it has checked.
func (v *life) run() (images int, err error) {
	for range 3 {
		if err := v.open(); err != nil {
			return images, err
		}
		for range 5 + v.random.IntN(40) {
			if err := v.step(); err != nil {
				v.log.Close()
				return images, err
			}
		}
		v.killed()
		if len(v.images) == 0 {
			return images, nil
		}
		var left *cutDisk
		for _, m := range v.images {
			for range 2 {
				images++
				left = m.disk.cut(v.random)
				if err := m.know.check(left.clone()); err != nil {
					return images, fmt.Errorf("image %d: %w", images, err)
				}
			}
		}
		v.know, v.disk, v.images = v.images[len(v.images)-1].know, left, nil
		v.know.forget()
	}
	if v.o.Limits.Readings > 0 || v.fails { // a reading that names others may be dropped itself
		return images, nil
	}
	return images, v.know.nothingUntold(v.disk)
}

// nothingUntold checks that each number has been handed out in the end, or is named as missing.
func (k *ledger) nothingUntold(d *cutDisk) error {
	l, err := Open("", Options{Files: d})
	if err != nil {
		return err
	}
	defer l.Close()
	k.bodies["the last"] = true
	for range 3 { // a long list of missing numbers needs more than one
		if _, err := l.Put(context.Background(), payloads.Reading{Body: []byte("the last")}, Stamp{}); err != nil {
			return err
		}
	}
	if _, err := k.all(l); err != nil {
		return err
	}
	for n := uint64(1); n <= l.Last(); n++ {
		if _, named := k.named[n]; !named && k.sent[ID{k.epoch, n}] == "" {
			return fmt.Errorf("%d of %d was neither handed out nor named", n, l.Last())
		}
	}
	return nil
}

// live runs a life of its own.
func live(t *testing.T, seed uint64, deaf string) (images int, sites map[string]int, err error) {
	synctest.Test(t, func(*testing.T) {
		v := newLife(seed, deaf)
		images, err = v.run()
		sites = v.disk.sites
	})
	return images, sites, err
}

// The places at which something is synced.
var sites = []string{
	"file when a commit ends", "directory when a commit ends",
	"file before a segment begins", "directory before a segment begins",
	"file when a reading is quarantined", "directory when a reading is quarantined",
	"file when the log is opened", "directory when the log is opened",
}

func TestAcceptedReadingsOutliveAPowerCut(t *testing.T) {
	slow.Test(t)
	images, lives, synced := 0, uint64(0), map[string]bool{}
	for ; images < 10_000 && !(testing.Short() && images > 1_000); lives++ {
		n, at, err := live(t, lives, "")
		if err != nil {
			t.Fatalf("seed %d: %v", lives, err)
		}
		images += n
		for site := range at {
			synced[site] = true
		}
	}
	if got := slices.Sorted(maps.Keys(synced)); !slices.Equal(got, slices.Sorted(slices.Values(sites))) {
		t.Errorf("something was synced at %q", got)
	}
	t.Logf("%d images of %d lives", images, lives)
}

func TestEachSyncIsNeeded(t *testing.T) {
	for _, site := range sites {
		t.Run(site, func(t *testing.T) {
			for seed := range uint64(1_000) {
				if _, _, err := live(t, seed, site); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("nobody has noticed that it is not synced")
		})
	}
}
