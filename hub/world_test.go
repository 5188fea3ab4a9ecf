package hub

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// A world is a Hub with an outbox, and the session that it has.
type world struct {
	*Hub
	t       *testing.T
	box     *outbox.Memory
	session *fakeSession
	works   chan error // what Work has returned
	leave   context.CancelFunc
	drops   []string

	mu      sync.Mutex
	records []observe.Record
}

// bubble runs a test in fake time, on a Hub without a session.
func bubble(t *testing.T, s Settings, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t}
		w.box = outbox.NewMemory(outbox.Options{Dropped: func(d outbox.Drop) {
			w.drops = append(w.drops, fmt.Sprint(d.Numbers.First, " ", string(d.Reason())))
		}})
		if s.Outbox == nil {
			s.Outbox = w.box
		}
		s.Emit = func(r observe.Record) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.records = append(w.records, r)
		}
		if s.Date == nil {
			s.Date = func(r outbox.Reading) (time.Time, bool) { return r.Taken, false }
		}
		w.Hub = New(s)
		test(t, w)
		if w.session != nil && w.session.Cause() == nil {
			w.disconnect(transport.ClosedLocally)
		}
		w.Close(context.Background())
		w.End()
	})
}

// connect gives the Hub a new session whose hub follows a script, and lets it work.
func (w *world) connect(script func(publish)) *fakeSession {
	w.session = &fakeSession{script: script, ended: make(chan struct{})}
	w.work()
	return w.session
}

func (w *world) work() {
	w.Attach(w.session, "dev1")
	ctx, leave := context.WithCancel(context.Background())
	w.works, w.leave = make(chan error, 1), leave
	go func(works chan error) { works <- w.Work(ctx) }(w.works)
	synctest.Wait()
}

// pause ends Work, if it works, as another state of the device does, and returns what it returned.
func (w *world) pause() error {
	if w.works == nil {
		return nil
	}
	w.leave()
	return w.worked()
}

// worked waits until Work returns, and returns what it returned.
func (w *world) worked() error {
	err := <-w.works
	w.works = nil
	w.leave()
	w.Detach()
	return err
}

// disconnect ends the session, and returns what Work returned.
func (w *world) disconnect(reason transport.Reason) error {
	w.session.end(reason)
	synctest.Wait()
	err := w.pause()
	w.Release()
	return err
}

// put puts readings with so many bytes into the outbox.
func (w *world) put(count, size int) {
	w.t.Helper()
	w.accept(count, size)
	synctest.Wait()
}

func (w *world) accept(count, size int) {
	for range count {
		r := payloads.Reading{Body: []byte(strings.Repeat("1", size)), Taken: time.Now()}
		if _, err := w.box.Put(context.Background(), r, outbox.Stamp{}); err != nil {
			w.t.Error(err)
		}
	}
}

// sent returns the readings that were published since a time: number, lane and seconds, such as "3b+2".
func (w *world) sent(since time.Time) string {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	var all []string
	for _, p := range w.session.published {
		if p.qos != 1 || p.at.Before(since) {
			continue
		}
		one := numberOf(p)
		if strings.Contains(p.topic, BacklogProperty+"=backlog") {
			one += "b"
		}
		all = append(all, fmt.Sprintf("%s+%g", one, p.at.Sub(since).Seconds()))
	}
	return strings.Join(all, " ")
}

// numberOf returns the number of a published reading.
func numberOf(p publish) string {
	_, id, _ := strings.Cut(p.topic, "%24.mid=")
	id, _, _ = strings.Cut(id, "&")
	return id[strings.LastIndexByte(id, '-')+1:]
}

// requests returns the requests that were published since a time, without their IDs: topic, body
// and seconds.
func (w *world) requests(since time.Time) (all []string) {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	for _, p := range w.session.published {
		if topic, _, ok := strings.Cut(p.topic, "/?$rid="); ok && p.qos == 0 && !p.at.Before(since) {
			topic = strings.TrimPrefix(topic, "$iothub/")
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s+%g %s", topic, p.at.Sub(since).Seconds(), p.body)))
		}
	}
	return all
}

// recorded takes the records so far: kind, name, ID, status and error.
func (w *world) recorded(kind observe.Kind) (all []string) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var others []observe.Record
	for _, r := range w.records {
		if r.Kind != kind {
			others = append(others, r)
			continue
		}
		one := strings.Join(strings.Fields(fmt.Sprint(r.Name, " ", r.ID, " ", r.Hub, " ", r.Status, " ", r.Error)), " ")
		all = append(all, one)
	}
	w.records = others
	return all
}

func (w *world) want(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}
