package machine_test

import (
	"context"
	"crypto/tls"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// sampleBody is 200 bytes.
var sampleBody = []byte(`{"pad":"` + strings.Repeat("x", 190) + `"}`)

// bare is paho alone: one goroutine publishes and another awaits the tokens, which is its fastest way.
type bare struct {
	b             *testing.B
	client        mqtt.Client
	window        int
	before, after string // of a topic, around the number
	last          int
}

func newBare(b *testing.B, cloud *childCloud, window int) *bare {
	b.Helper()
	const id = "bare"
	key, err := cloud.keyOf(id)
	if err != nil {
		b.Fatal(err)
	}
	o := mqtt.NewClientOptions().AddBroker("tls://" + cloud.Hub).SetTLSConfig(&tls.Config{RootCAs: cloud.roots()})
	o.SetProtocolVersion(4).SetClientID(id).SetUsername(payloads.HubUsername(cloud.Hub, id, ""))
	o.SetPassword(transport.SAS(cloud.Hub+"/devices/"+id, "", key, time.Now().Add(time.Hour)))
	o.SetAutoReconnect(false)
	c := &bare{b: b, client: mqtt.NewClient(o), window: window}
	if t := c.client.Connect(); t.Wait() && t.Error() != nil {
		b.Fatal(t.Error())
	}
	c.before, c.after, _ = strings.Cut(payloads.Reading{Taken: time.Now()}.Topic(id, "8f3a1c02-N"), "N")
	return c
}

func (c *bare) publish(n int) {
	tokens := make(chan mqtt.Token, c.window-1) // one more is being awaited
	var awaiting sync.WaitGroup
	awaiting.Go(func() {
		for t := range tokens {
			if t.Wait(); t.Error() != nil {
				c.b.Error(t.Error())
			}
		}
	})
	for range n {
		c.last++
		tokens <- c.client.Publish(c.before+strconv.Itoa(c.last)+c.after, 1, false, sampleBody)
	}
	close(tokens)
	awaiting.Wait()
}

func (c *bare) close() { c.client.Disconnect(1000) }

// embedded is a device.
type embedded struct {
	b       *testing.B
	device  *machine.Device
	ran     chan error
	arrived *arrivals
	senders int
}

// arrivals is an outbox that counts what a hub has acknowledged.
type arrivals struct {
	outbox.Outbox
	missing atomic.Int64
	all     chan struct{}
}

func (a *arrivals) Remove(n uint64) {
	a.Outbox.Remove(n)
	if a.missing.Add(-1) == 0 {
		a.all <- struct{}{}
	}
}

func newInMemory(b *testing.B, cloud *childCloud, window int) *embedded {
	return newEmbedded(b, cloud, "memory", window, 1, outbox.NewMemory(outbox.Options{}))
}

func newDurable(b *testing.B, cloud *childCloud, window int, disk *diskMeter) *embedded {
	// one sender would await the disk for each reading
	return newEmbedded(b, cloud, "disk", window, window, disk.open(b))
}

func newEmbedded(b *testing.B, cloud *childCloud, id string, window, senders int, o outbox.Outbox) *embedded {
	b.Helper()
	e := &embedded{b: b, ran: make(chan error, 1), senders: senders,
		arrived: &arrivals{Outbox: o, all: make(chan struct{}, 1)}}
	connected := make(chan struct{})
	var err error
	e.device, err = machine.NewWithOutbox(machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: cloud.DPSHost, IDScope: cloud.IDScope, RegistrationID: id,
			Key: func() (transport.Key, error) { return cloud.keyOf(id) },
		},
		Storage:  machine.Storage{InMemory: true},
		Delivery: machine.Delivery{Window: window, Unpaced: true},
		Link:     machine.Link{RootCAs: cloud.roots},
		NoDebug:  true,
		Observers: []func(machine.Record){func(r machine.Record) {
			if r.To == string(machine.Connected) {
				close(connected)
			}
		}},
	}, e.arrived)
	if err != nil {
		b.Fatal(err)
	}
	go func() { e.ran <- e.device.Run(context.Background()) }()
	<-connected
	e.publish(1) // from here on it has subscribed
	return e
}

func (e *embedded) publish(n int) {
	e.arrived.missing.Store(int64(n))
	var taken atomic.Int64
	for range e.senders {
		go func() {
			for taken.Add(1) <= int64(n) {
				if _, err := e.device.Send(context.Background(), machine.Reading{Body: sampleBody}); err != nil {
					e.b.Error(err)
					return
				}
			}
		}()
	}
	<-e.arrived.all
}

func (e *embedded) close() {
	if err := e.device.Close(context.Background()); err != nil {
		e.b.Error(err)
	}
	if err := <-e.ran; err != nil {
		e.b.Error(err)
	}
}

// A diskMeter counts what a log has the system write.
type diskMeter struct {
	outbox.Files
	dir          string
	bytes, syncs atomic.Int64
	device       int64
}

func newDiskMeter(b *testing.B) *diskMeter {
	b.Helper()
	dir, err := os.MkdirTemp(".", "bench.out") // where the source is, for a temporary directory is often in memory
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return &diskMeter{dir: dir, device: deviceBytes()}
}

func (m *diskMeter) open(b *testing.B) outbox.Outbox {
	b.Helper()
	m.Files = outbox.SystemFiles(m.dir)
	l, err := outbox.Open(m.dir, outbox.Options{Files: m})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func (m *diskMeter) Create(name string) (outbox.File, error) {
	f, err := m.Files.Create(name)
	return meteredFile{f, m}, err
}

func (m *diskMeter) Sync() error {
	m.syncs.Add(1)
	return m.Files.Sync()
}

type meteredFile struct {
	outbox.File
	meter *diskMeter
}

func (f meteredFile) Write(p []byte) (int, error) {
	f.meter.bytes.Add(int64(len(p)))
	return f.File.Write(p)
}

func (f meteredFile) Sync() error {
	f.meter.syncs.Add(1)
	return f.File.Sync()
}

func (m *diskMeter) report(b *testing.B, readings int) {
	each := func(n int64) float64 { return float64(n) / float64(readings) }
	b.ReportMetric(each(m.bytes.Load()), "disk-written-B")
	b.ReportMetric(each(deviceBytes()-m.device), "disk-device-B")
	b.ReportMetric(each(m.syncs.Load()), "disk-fsyncs")
}
