package emulator_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// roundTrip returns the time from publishing a message to its PUBACK.
func (p *peer) roundTrip(topic, body string) time.Duration {
	p.Helper()
	start := time.Now()
	p.mustPublish(topic, body)
	return time.Since(start)
}

func TestASlowHubDelaysBothDirections(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		early := w.mustConnect(login{hub: "A"})
		w.mustInject("A", emulator.Slow, emulator.Params{Delay: 300 * time.Millisecond})
		start := time.Now()
		late := w.mustConnect(login{hub: "A", device: "dev2"})
		if took := time.Since(start); took != 1800*time.Millisecond {
			t.Errorf("TLS and CONNECT took %v, want three round trips", took)
		}
		for range 2 {
			if took := early.roundTrip(events, "x"); took != 600*time.Millisecond {
				t.Errorf("one that was there took %v", took)
			}
			if took := late.roundTrip("devices/dev2/messages/events/", "x"); took != 600*time.Millisecond {
				t.Errorf("one that came later took %v", took)
			}
		}
		other := w.mustConnect(login{hub: "B", device: "dev3"})
		if took := other.roundTrip("devices/dev3/messages/events/", "x"); took != 0 {
			t.Errorf("the other hub took %v", took)
		}
		w.mustClear("A", emulator.Slow)
		if took := early.roundTrip(events, "x"); took != 0 {
			t.Errorf("after Clear: it took %v", took)
		}
	})
}

func TestDelayedMessagesAreInFlightAtTheSameTime(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.mustInject("A", emulator.Slow, emulator.Params{Delay: time.Second})
		start := time.Now()
		var all sync.WaitGroup
		for i := range 10 {
			time.Sleep(100 * time.Millisecond)
			all.Go(func() { p.mustPublish(events+fmt.Sprintf("$.mid=%d", i), "x") })
		}
		all.Wait()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestTheRateIsInBytesPerSecond(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.mustInject("A", emulator.Slow, emulator.Params{Rate: 10_000})
		if took := p.roundTrip(events, strings.Repeat("x", 200_000)); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("200 kB at 10 kB/s took %v", took)
		}
	})
}

func TestJitterVariesTheDelayAndKeepsTheOrder(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.mustInject("A", emulator.Slow, emulator.Params{Jitter: time.Second})
		var all []time.Duration
		for i := range 20 {
			p.Publish(events+fmt.Sprintf("$.mid=%02d", 2*i), 1, false, "x")
			all = append(all, p.roundTrip(events+fmt.Sprintf("$.mid=%02d", 2*i+1), "x"))
		}
		if slices.Max(all) > 2*time.Second || slices.Max(all)-slices.Min(all) < 500*time.Millisecond {
			t.Errorf("took between %v and %v", slices.Min(all), slices.Max(all))
		}
		for i, d := range w.Ledger() {
			if d.MessageID != fmt.Sprintf("%02d", i) {
				t.Errorf("message %d is %s", i, d.MessageID)
			}
		}
	})
}

func TestASlowHubOnSockets(t *testing.T) {
	onSockets(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.mustInject("A", emulator.Slow,
			emulator.Params{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Rate: 1 << 20})
		if took := p.roundTrip(events, strings.Repeat("x", 100_000)); took < 150*time.Millisecond {
			t.Errorf("took %v", took)
		}
		w.mustInject("A", emulator.Silence, emulator.Params{}) // both faults are active
		token := p.Publish(events, 1, false, "x")
		if token.WaitTimeout(200 * time.Millisecond) {
			t.Error("the silent hub answered")
		}
		w.mustClear("A", emulator.Silence)
		if !token.WaitTimeout(5 * time.Second) {
			t.Error("the hub is still silent")
		}
		w.mustClear("A", emulator.Slow)
		p.mustPublish(events, "x")
	})
}

func TestKillingASlowHubTakesEffectAtOnce(t *testing.T) {
	for how, want := range map[emulator.Fault]error{emulator.FIN: io.EOF, emulator.RST: syscall.ECONNRESET} {
		t.Run(string(how), func(t *testing.T) {
			onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
				raw := w.rawConnect(0)
				w.mustInject("A", emulator.Slow, emulator.Params{Delay: time.Hour})
				raw.Write(rawPublish)
				w.KillHub("A", how)
				if _, err := raw.Read(make([]byte, 1)); !errors.Is(err, want) {
					t.Errorf("the connection ended with %v", err)
				}
				w.ReviveHub("A")
				w.mustClear("A", "")
				w.mustConnect(login{hub: "A"}).mustPublish(events, "x")
				if n := len(w.Ledger()); n != 1 {
					t.Errorf("%d messages", n)
				}
			})
		})
	}
}

func TestTheLastDataPassesASlowConnectionBeforeItCloses(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.mustInject("A", emulator.Slow, emulator.Params{Delay: 10 * time.Second})
		token := p.Publish(events, 1, false, "x")
		p.Publish(events, 2, false, "a breach that ends it")
		start := time.Now()
		if !token.WaitTimeout(time.Minute) || token.Error() != nil {
			t.Errorf("no PUBACK: %v", token.Error())
		}
		p.mustLose(time.Minute)
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
