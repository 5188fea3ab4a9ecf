package machine_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// roundTrip is that of the network in docs/cellular.md.
const roundTrip = 100 * time.Millisecond

// idleWorld is a device on a cellular network with nothing to say, in a bubble, connected.
func idleWorld(t *testing.T, keepAlive, tokenLife time.Duration, test func(w *world, m *meter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := new(meter)
		w := newWorld(t, true, emulator.Config{}, func(s *machine.Settings) {
			s.Link.KeepAlive, s.Link.Silence, s.Timing.TokenLife = keepAlive, 2*keepAlive, tokenLife
			s.Rand = func() float64 { return 0.5 }
			s.Link.Dial = m.through(s.Link.Dial)
			s.Handlers.Command = func(context.Context, machine.Message) error { return nil }
		})
		w.network.SetLatency(roundTrip / 2)
		w.connected()
		time.Sleep(time.Second) // subscribed, and the twin read
		test(w, m)
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

// aDay is what an idle device costs in 24 hours, without and with the estimate of headers.
func aDay(t *testing.T, keepAlive, tokenLife time.Duration) (records, withHeaders int) {
	idleWorld(t, keepAlive, tokenLife, func(w *world, m *meter) {
		m.reset()
		time.Sleep(24 * time.Hour)
		records, withHeaders = m.total()
		for _, r := range w.path(0) {
			if r == string(machine.Failover) {
				t.Errorf("KeepAlive %v: the link was lost", keepAlive)
			}
		}
	})
	return records, withHeaders
}

// noticed is how long it takes to notice that a link is half-open, at the least and at the most.
func noticed(t *testing.T, keepAlive time.Duration) (least, most time.Duration) {
	least = 24 * time.Hour
	for _, phase := range []float64{0, 0.25, 0.5, 0.75, 1} { // of the time between two pings
		idleWorld(t, keepAlive, 24*time.Hour, func(w *world, m *meter) {
			time.Sleep(time.Until(m.lastHeard().Add(keepAlive + roundTrip))) // a ping has just been answered
			time.Sleep(time.Duration(phase * float64(keepAlive)))
			from, struck := w.count(), time.Now()
			if err := w.cloud.KillHub("A", emulator.Silence); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2*keepAlive + time.Second)
			i := w.awaitState(machine.Failover, from)
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.records[i].Cause != "silence" {
				t.Errorf("KeepAlive %v: %+v", keepAlive, w.records[i])
			}
			took := w.records[i].Time.Sub(struck)
			least, most = min(least, took), max(most, took)
		})
	}
	return least, most
}

// Prints the table of docs/cellular.md and compares it with the one there, to a hundredth.
func TestTheTableOfKeepAliveIsTrue(t *testing.T) {
	slow.Test(t)
	file, err := os.ReadFile("../docs/cellular.md")
	if err != nil {
		t.Fatal(err)
	}
	written := regexp.MustCompile(`(?m)^\| \d+ s / .*$`).FindAllString(string(file), -1)
	var rows []string
	for _, seconds := range []time.Duration{6, 15, 30, 60, 120, 240, 480, 1177} {
		keepAlive := seconds * time.Second
		least, most := noticed(t, keepAlive)
		hourly, hourlyOnWire := aDay(t, keepAlive, time.Hour)
		daily, dailyOnWire := aDay(t, keepAlive, 24*time.Hour)
		rows = append(rows,
			fmt.Sprintf("| %d s / %d s | %.0f to %.0f s | %s | %s | %s | %s |", seconds, 2*seconds, least.Seconds(),
				most.Seconds(),
				kilobytes(hourly), kilobytes(hourlyOnWire), kilobytes(daily), kilobytes(dailyOnWire)))
	}
	t.Logf("measured:\n%s", strings.Join(rows, "\n"))
	if len(written) != len(rows) {
		t.Fatalf("the document has %d rows", len(written))
	}
	for i := range rows {
		if !alike(written[i], rows[i]) {
			t.Errorf("the document says\n%s, measured is\n%s", written[i], rows[i])
		}
	}
}

func kilobytes(n int) string {
	n = (n + 500) / 1000
	if n < 1000 {
		return fmt.Sprint(n, " kB")
	}
	return fmt.Sprintf("%d,%03d kB", n/1000, n%1000)
}

// alike compares the numbers of two rows. Certificates and signatures vary by a few bytes.
func alike(a, b string) bool {
	numbers := func(s string) []string {
		return regexp.MustCompile(`\d+`).FindAllString(strings.ReplaceAll(s, ",", ""), -1)
	}
	left, right := numbers(a), numbers(b)
	if len(left) != len(right) {
		return false
	}
	for i := range left {
		x, _ := strconv.ParseFloat(left[i], 64)
		y, _ := strconv.ParseFloat(right[i], 64)
		if max(x-y, y-x) > max(1, y/100) {
			return false
		}
	}
	return true
}

// While a packet that takes longer than Silence goes up, the hub has nothing to answer, and its pings wait
// behind it. Of many, the last must not wait for its acknowledgement longer than AckTimeout because the others
// were sent before it.
func TestUploadsThatTakeLongerThanSilenceArrive(t *testing.T) {
	for _, c := range []struct{ readings, size, rate int }{{1, 200_000, 10_000}, {30, 100_000, 20_000}} {
		t.Run(fmt.Sprint(c.readings), func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, w *world) {
				w.connected()
				// bytes a second
				if err := w.cloud.Inject("A", emulator.Slow, emulator.Params{Rate: c.rate}); err != nil {
					t.Fatal(err)
				}
				from := w.count()
				body := bytes.Repeat([]byte("1"), c.size)
				for range c.readings {
					if _, err := w.device.Send(t.Context(), machine.Reading{Body: body}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10 * time.Minute)
				w.mu.Lock()
				defer w.mu.Unlock()
				delivered, lost := 0, ""
				for _, r := range w.records[from:] {
					if r.Kind == observe.Delivered {
						delivered++
					}
					if r.Event == string(machine.Lost) {
						lost = r.Cause
					}
				}
				if delivered != c.readings || lost != "" {
					t.Errorf("%d of %d delivered, lost: %q", delivered, c.readings, lost)
				}
			})
		})
	}
}

// At 1.5 kB a second a twin of 25 kB takes 17 s to come. Another request would only make it later.
func TestALargeTwinOnASlowLinkIsNotGivenUpWhileItComes(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.cloud.Enroll(deviceID, "")
		wishes := map[string]any{}
		for n := range 10 {
			wishes[fmt.Sprint("wish", n)] = strings.Repeat("x", 2500)
		}
		if err := w.cloud.SetDesired(deviceID, wishes); err != nil {
			t.Fatal(err)
		}
		if err := w.cloud.Inject("A", emulator.Slow, emulator.Params{Rate: 1500}); err != nil { // bytes a second
			t.Fatal(err)
		}
		w.connected()
		from := w.count()
		time.Sleep(5 * time.Minute)
		if failed := w.warnings("no answer in time"); failed != "" || len(w.path(from)) > 0 {
			t.Errorf("%v %s", w.path(from), failed)
		}
	})
}

// A report waits behind readings that take a minute to go up.
func TestAReportBehindLargeReadingsOnASlowLinkIsNotGivenUp(t *testing.T) {
	bubble(t, nil, func(t *testing.T, w *world) {
		w.connected()
		if err := w.cloud.Inject("A", emulator.Slow, emulator.Params{Rate: 10_000}); err != nil { // bytes a second
			t.Fatal(err)
		}
		for range 10 {
			if _, err := w.device.Send(t.Context(),
				machine.Reading{Body: bytes.Repeat([]byte("1"), 60_000)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // the readings go first
		if err := w.device.Report(t.Context(), map[string]any{"battery": 80}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if failed := w.warnings("no answer in time"); failed != "" {
			t.Error(failed)
		}
	})
}
