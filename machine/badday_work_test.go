package machine_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// work is the device's work until it is stopped: a reading each second and the rest every ten.
func (w *witness) work() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() {
		next := time.After(100 * time.Millisecond) // never at the same instant as what the device does by itself
		for n := 1; ; n++ {
			select {
			case <-next:
			case <-ctx.Done():
				return
			}
			next = time.After(time.Second)
			w.reading(false)
			if n%10 == 0 {
				w.report(n)
				w.demand(n)
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); working.Wait() })
	w.t.Cleanup(stop)
	return stop
}

// reading sends a reading, which a hub that can be poisoned does not like if it is marked.
func (w *witness) reading(marked bool) {
	if marked && w.fault.Name == emulator.Poison {
		w.sendWith(map[string]string{"poison": "yes"})
		w.note(func() { w.poisonous = w.taken[len(w.taken)-1] })
		return
	}
	w.send()
}

// report changes the reported property.
func (w *witness) report(n int) {
	w.note(func() { w.counts.send(n) })
	if err := w.device.Report(context.Background(), map[string]any{"count": n}); err != nil {
		w.t.Error(err)
	}
}

// demand changes the desired property and sends a message. The cloud takes neither for a device that it does not know.
func (w *witness) demand(n int) {
	w.note(func() { w.desired.send(n) })
	if err := w.cloud.SetDesired(deviceID, map[string]any{"wish": n}); err != nil {
		w.note(func() { w.desired.sent = w.desired.sent[:len(w.desired.sent)-1] })
	}
	id := fmt.Sprint("message-", n)
	w.note(func() { w.messages[id] = 0 })
	if err := w.cloud.SendMessage(deviceID, emulator.Message{ID: id}); err != nil {
		w.note(func() { delete(w.messages, id) })
	}
}

// An errand is numbers that are sent off in ascending order, of which the newest that arrives stands for the
// older ones.
type errand struct {
	sent   []dispatch
	latest time.Duration // the longest that one took
	last   int           // of those that arrived
	again  int           // how often the last came once more
}

type dispatch struct {
	n  int
	at time.Time
}

func (e *errand) send(n int) { e.sent = append(e.sent, dispatch{n, time.Now()}) }

func (e *errand) arrive(n int) {
	if n == e.last {
		e.again++
	}
	e.last = n
	for len(e.sent) > 0 && e.sent[0].n <= n {
		e.latest = max(e.latest, time.Since(e.sent[0].at))
		e.sent = e.sent[1:]
	}
}

// overhear learns from the cloud which reported properties it has.
func (w *witness) overhear(e emulator.Event) {
	if e.Kind != emulator.KindTwin || e.Hub == "" {
		return
	}
	_, reported, _, _ := w.cloud.Twin(deviceID)
	if n, ok := reported["count"].(float64); ok {
		w.note(func() { w.counts.arrive(int(n)) })
	}
}
