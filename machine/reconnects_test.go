package machine_test

import (
	"context"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// Every second reconnect is planned, every other follows a cut. The cloud is another process, so that what it
// remembers is not measured, and of records and readings nothing is kept here but their number.
func TestReconnectsLeaveNothingBehind(t *testing.T) {
	slow.Test(t)
	cloud := startCloud(t)
	d := newLean(t, cloud)
	d.send()
	d.until("it is delivered", func() bool { return d.delivered == 1 })
	fresh := measure()
	n := scaled(250, 1000)
	d.reconnect(n / 5)
	early := d.settle(fresh)
	d.reconnect(n - n/5)
	late := d.settle(fresh)
	t.Logf("at first %+v, after %d reconnects %+v, after %d %+v", fresh, n/5, early, n, late)
	// What a buffer or a map happens to hold differs by some 60 kB and 120 objects; a leak counts with every reconnect.
	if between := n - n/5; late.heap-early.heap > between*512 || late.objects-early.objects > between {
		t.Errorf("%d reconnects have left %d bytes in %d objects", between, late.heap-early.heap,
			late.objects-early.objects)
	}
	d.close()
	cloud.wantAll(d.taken)
}

// A footprint is what this process holds.
type footprint struct {
	goroutines, files int
	heap, objects     int // alive
}

func measure() footprint {
	runtime.GC()
	runtime.GC() // what pools had held back at the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), openFiles(), int(m.HeapAlloc), int(m.HeapObjects)}
}

// openFiles is how many files and sockets are open; 0 where /proc does not tell.
func openFiles() int { e, _ := os.ReadDir("/proc/self/fd"); return len(e) }

// A lean device counts what it tells and keeps nothing of it.
type lean struct {
	t      *testing.T
	cloud  *childCloud
	device *machine.Device
	ran    chan error
	taken  int

	mu                   sync.Mutex
	connected, delivered int
	news                 chan struct{} // has a value when they have changed
}

func newLean(t *testing.T, cloud *childCloud) *lean {
	t.Helper()
	d := &lean{t: t, cloud: cloud, ran: make(chan error, 1), news: make(chan struct{}, 1)}
	var err error
	d.device, err = machine.New(machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: cloud.DPSHost, IDScope: cloud.IDScope, RegistrationID: deviceID, Key: cloud.key,
		},
		Storage: machine.Storage{InMemory: true},
		Link:    machine.Link{RootCAs: cloud.roots},
		// Otherwise the device would make 25 connections a minute, and suspect a second process.
		Policy: machine.Policy{Hold: time.Nanosecond, HubWait: time.Millisecond, HubRate: math.MaxInt32,
			DPSRate: math.MaxInt32},
		Delivery:  machine.Delivery{Unpaced: true},
		Observers: []func(machine.Record){d.observe},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { d.ran <- d.device.Run(context.Background()) }()
	t.Cleanup(d.close)
	return d
}

func (d *lean) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := d.device.Close(ctx); err != nil {
		d.t.Error(err)
		return
	}
	if err := <-d.ran; err != nil {
		d.t.Error(err)
	}
	d.ran <- nil
}

func (d *lean) observe(r machine.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case r.Kind == observe.Transition && r.To == string(machine.Connected):
		d.connected++
	case r.Kind == observe.Delivered:
		d.delivered++
	default:
		return
	}
	select {
	case d.news <- struct{}{}:
	default:
	}
}

func (d *lean) until(what string, ok func() bool) {
	d.t.Helper()
	patience := time.After(time.Minute)
	for {
		d.mu.Lock()
		is := ok()
		d.mu.Unlock()
		if is {
			return
		}
		select {
		case <-d.news:
		case <-patience:
			d.t.Fatalf("waited in vain until %s: the device is %s, %d times connected; %d taken, %d delivered", what,
				d.device.State(), d.connected, d.taken, d.delivered)
		}
	}
}

// reconnect has the device reconnect n times, with a reading each millisecond.
func (d *lean) reconnect(n int) {
	d.t.Helper()
	defer d.sending()()
	for i := range n {
		d.mu.Lock()
		before := d.connected
		d.mu.Unlock()
		if i%2 == 0 {
			if err := d.device.Fire(d.t.Context(), machine.Renew); err != nil {
				d.t.Error(err)
			}
		} else {
			d.cloud.cut()
		}
		d.until("it has reconnected", func() bool { return d.connected > before })
	}
}

// sending sends until the returned function is called, which waits for the last.
func (d *lean) sending() (stop func()) {
	ctx, cancel := context.WithCancel(d.t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			d.send()
		}
	})
	return func() { cancel(); sending.Wait() }
}

func (d *lean) send() {
	if _, err := d.device.Send(context.Background(), machine.Reading{Body: []byte(`{"temp":21.5}`)}); err != nil {
		d.t.Error(err)
	}
	d.taken++
}

// settle measures when all readings are delivered and the last session has wound up.
func (d *lean) settle(fresh footprint) footprint {
	d.t.Helper()
	d.until("all is delivered", func() bool { return d.delivered == d.taken })
	look, patience := time.NewTicker(time.Millisecond), time.After(20*time.Second)
	defer look.Stop()
	for runtime.NumGoroutine() > fresh.goroutines || openFiles() > fresh.files {
		select {
		case <-look.C:
		case <-patience:
			d.t.Fatalf("at first %+v, now %+v:\n%s", fresh, measure(), stacks())
		}
	}
	return measure()
}

func stacks() string {
	text := make([]byte, 1<<20)
	return strings.TrimSpace(string(text[:runtime.Stack(text, true)]))
}
