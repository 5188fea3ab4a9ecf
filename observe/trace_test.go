package observe_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode"

	"giantlizard.example/failover/observe"
)

func trace(t *testing.T, log string) string {
	t.Helper()
	var b strings.Builder
	if err := observe.Trace(strings.NewReader(log), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func wantTrace(t *testing.T, log, want string) {
	t.Helper()
	if got := trace(t, log); got != want {
		t.Errorf("the trace is\n%s\nwant\n%s", got, want)
	}
}

// logged returns the log of the records that a function tells.
func logged(tells func(tell func(observe.Record))) string {
	var b bytes.Buffer
	tells(observe.Thin(observe.NewPrinter(&b, true, observe.Debug)))
	return b.String()
}

func summaryOf(trace string) string {
	lines := strings.Split(strings.TrimSuffix(trace, "\n"), "\n")
	return lines[len(lines)-1]
}

// failedOver is a device's morning: a connection that is reset, and a hub that goes away.
func failedOver(tell func(observe.Record)) {
	s := newStory("lizard-1", tell)
	s.starts()
	for n := range 3 {
		id := fmt.Sprint("9f2c-", n+1)
		s.say(time.Second, observe.Record{Level: observe.Debug, Kind: observe.Accepted, ID: id})
		s.say(0, observe.Record{Level: observe.Debug, Kind: observe.Delivered, ID: id, Hub: hubA})
	}
	s.blinks(12300 * time.Millisecond)
	s.failsOver(72 * time.Minute)
}

const failedOverTrace = `2026-03-01 UTC
08:00:00.000  Unprovisioned -> Provisioning  register
08:00:00.412  Provisioning  -> Connecting    assigned                  hub-a.azure-devices.net  after 412 ms
08:00:00.505  Connecting    -> Connected     connected                 hub-a.azure-devices.net  after 93 ms
08:00:15.805  Connected     -> Failover      lost (reset)              hub-a.azure-devices.net  after 15.3 s
08:00:15.805  Failover      -> Connecting    retry-hub                 hub-a.azure-devices.net
08:00:15.814  Connecting    -> Connected     connected                 hub-a.azure-devices.net  after 9 ms
08:00:15.814  reconnected at hub-a.azure-devices.net in 9 ms
09:12:15.814  Connected     -> Failover      lost (closed)             hub-a.azure-devices.net  after 1 h 12 min
09:12:15.814  Failover      -> Connecting    retry-hub                 hub-a.azure-devices.net
09:12:15.818  Connecting    -> Failover      connect-failed (refused)  hub-a.azure-devices.net  after 4 ms
09:12:15.818  Failover      -> Provisioning  reprovision
09:12:16.058  Provisioning  -> Connecting    assigned                  hub-b.azure-devices.net  after 240 ms
09:12:16.133  Connecting    -> Connected     connected                 hub-b.azure-devices.net  after 75 ms
09:12:16.133  failed over from hub-a.azure-devices.net to hub-b.azure-devices.net in 319 ms

1 device, 12 transitions, 2 outages: 1 reconnected in 9 ms, ` +
	`1 failed over in 319 ms; readings: 3 taken, 3 delivered, 0 dropped
`

func TestTraceIsThePathAndASummary(t *testing.T) {
	wantTrace(t, logged(failedOver), failedOverTrace)
}

func TestTraceOfALongOutageIsShortAndCountsEverything(t *testing.T) {
	log := logged(func(tell func(observe.Record)) {
		s := newStory("lizard-1", tell)
		s.now, s.entered = s.now.Add(15*time.Hour), s.now.Add(14*time.Hour)
		s.move(0, "Connected", "lost", "Failover", hubA, "silence")
		for range 100 {
			s.fails("timed-out", "dps-unavailable")
		}
		s.say(0, observe.Record{Level: observe.Warn, Kind: observe.Dropped, ID: "9f2c-1", Cause: "full"})
		s.say(0, observe.Record{Level: observe.Warn, Kind: observe.Warning, Error: "the disk is full"})
		s.move(time.Second, "Failover", "close", "Closing", "", "")
	})
	got := trace(t, log)
	if lines := strings.Count(got, "\n"); lines > 50 {
		t.Errorf("%d lines", lines)
	}
	for _, want := range []string{
		"2026-03-01 UTC\n23:00:00.000  Connected    -> Failover      lost (silence)  ",
		"\n2026-03-02 UTC\n00:39:30.000  ",
		"after 20.0 s     … 6 more like this\n",
		"\n1 device, 402 transitions, 1 outage: 1 not over after 1 h 40 min; readings: 1 dropped; 1 warning\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestLogWithoutPhasesHasTheSameTrace(t *testing.T) {
	for name, tells := range map[string]func(func(observe.Record)){
		"ended outages": failedOver,
		"an open outage": func(tell func(observe.Record)) {
			s := newStory("lizard-1", tell)
			s.starts()
			s.blinks(time.Hour)
			s.move(time.Hour, "Connected", "lost", "Failover", hubA, "silence")
			for range 10 {
				s.fails("timed-out", "dps-unavailable")
			}
			s.move(time.Second, "Failover", "close", "Closing", "", "")
		},
		"a first connection after failures": func(tell func(observe.Record)) {
			s := newStory("lizard-1", tell)
			for range 10 {
				s.fails("timed-out", "dps-unavailable")
			}
			s.starts()
			s.move(time.Hour, "Connected", "renew", "Connecting", hubA, "")
			s.move(time.Second, "Connecting", "connected", "Connected", hubA, "")
			s.move(time.Hour, "Connected", "close", "Closing", hubA, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := logged(tells)
			old := regexp.MustCompile(`"phase":"[a-z]+",`).ReplaceAllString(log, "")
			if old == log {
				t.Fatal("the log has no phases")
			}
			wantTrace(t, old, trace(t, log))
		})
	}
}

func TestTraceNamesTheDeviceIfThereAreSeveral(t *testing.T) {
	log := logged(func(tell func(observe.Record)) {
		a, b := newStory("lizard-1", tell), newStory("monitor", tell)
		a.starts()
		b.starts()
		b.blinks(9 * time.Second)
		a.blinks(10 * time.Second)
		a.blinks(10 * time.Second)
		a.move(time.Second, "Connected", "lost", "Failover", hubA, "closed")
		a.move(5*time.Second, "Failover", "reprovision", "Provisioning", "", "")
	})
	const want = `2026-03-01 UTC
lizard-1  08:00:00.000  Unprovisioned -> Provisioning  register
lizard-1  08:00:00.412  Provisioning  -> Connecting    assigned       hub-a.azure-devices.net  after 412 ms
lizard-1  08:00:00.505  Connecting    -> Connected     connected      hub-a.azure-devices.net  after 93 ms
monitor   08:00:00.000  Unprovisioned -> Provisioning  register
`
	got := trace(t, log)
	if !strings.HasPrefix(got, want) {
		t.Errorf("the trace is\n%s\nwant first\n%s", got, want)
	}
	const summary = "2 devices, 17 transitions, 4 outages: 3 reconnected in 9 ms, 1 not over after 5.0 s"
	if got := summaryOf(got); got != summary {
		t.Errorf("%q, want %q", got, summary)
	}
}

func TestSummaryShowsTheShortestAndTheLongestOutage(t *testing.T) {
	log := logged(func(tell func(observe.Record)) {
		s := newStory("lizard-1", tell)
		for _, ms := range []int64{90, 9, 65_000} {
			s.say(time.Second,
				observe.Record{Kind: observe.Outcome, Outcome: observe.Reconnected, FromHub: hubA, Hub: hubA,
					SpentMS: ms})
		}
		s.say(time.Second, observe.Record{Kind: observe.Outcome, Outcome: observe.FailedBack, FromHub: hubB, Hub: hubA,
			SpentMS: 1234})
	})
	const want = "1 device, 0 transitions, 4 outages: 3 reconnected in 9 ms to 1 min 5 s, 1 failed back in 1.2 s"
	if got := summaryOf(trace(t, log)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestClockThatIsSetDoesNotChangeTheLengthOfAnOutage(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for _, by := range []time.Duration{3 * 24 * time.Hour, -3 * 24 * time.Hour} {
		text := trace(t, logged(func(tell func(observe.Record)) {
			moves := func(after time.Duration, from, to string, phase observe.Phase) {
				tell(observe.Record{Time: at.Add(after), Kind: observe.Transition, From: from, To: to, Phase: phase})
			}
			moves(0, "Connected", "Failover", observe.Disconnected)
			moves(time.Second, "Failover", "Connecting", "")
			tell(observe.Record{Time: at.Add(2*time.Second + by), Kind: observe.Clock, StepMS: by.Milliseconds()})
			moves(5*time.Second+by, "Connecting", "Failover", observe.Disconnected)
		}))
		if want := "1 device, 3 transitions, 1 outage: 1 not over after 5.0 s"; summaryOf(text) != want {
			t.Errorf("set by %v: %q, want %q", by, summaryOf(text), want)
		}
		if !strings.Contains(text, "\n08:00:02.000  the clock was set 3 d 0 h ") {
			t.Errorf("the path does not show it:\n%s", text)
		}
	}
}

func TestOtherLinesAreSkippedAndCounted(t *testing.T) {
	log := logged(failedOver)
	first, rest, _ := strings.Cut(log, "\n")
	other := strings.Join([]string{
		"listening on :8883", "", "  ", "{", "null", "[]", `{"level":"info","message":"of another program"}`,
		`{"kind":"transition","time":"yesterday"}`, `{"kind":"transition"}`, `{"kind":7}`, "\xff\x00",
		`"` + strings.Repeat("long ", 1<<19) + `"`,
	}, "\n")
	want := strings.TrimSuffix(failedOverTrace, "\n") + "; 10 other lines\n"
	wantTrace(t, first+"\r\n"+other+"\n"+rest, want)
}

func TestTruncatedLogIsReadToItsEnd(t *testing.T) {
	log := logged(failedOver)
	wantTrace(t, strings.TrimSuffix(log, "\n"), failedOverTrace)
	cut := log + `{"level":"info","time":"2026-03-01T09:1`
	wantTrace(t, cut, strings.TrimSuffix(failedOverTrace, "\n")+"; 1 other line\n")
}

func TestLongRecordIsRead(t *testing.T) {
	log := logged(func(tell func(observe.Record)) {
		s := newStory("lizard-1", tell)
		s.say(0, observe.Record{
			Kind: observe.Transition, From: "Connected", Event: "lost", To: "Failover",
			Hub: strings.Repeat("h", 5000), Error: strings.Repeat("e", 900_000),
		})
	})
	want := "\n08:00:00.000  Connected -> Failover  lost  " + strings.Repeat("h", 79) + "…\n"
	if got := trace(t, log); !strings.Contains(got, want) {
		t.Error(got)
	}
}

func TestEmptyLogHasASummary(t *testing.T) {
	wantTrace(t, "", "\n0 devices, 0 transitions, 0 outages\n")
}

func TestLongLogIsTracedCompletely(t *testing.T) {
	var b bytes.Buffer
	s := newStory("lizard-1", observe.NewPrinter(&b, true, observe.Debug))
	for range 4000 {
		s.blinks(time.Second)
	}
	got := trace(t, b.String())
	if lines := strings.Count(got, "\n"); lines < 16_000 ||
		summaryOf(got) != "1 device, 12000 transitions, 4000 outages: 4000 reconnected in 9 ms" {
		t.Errorf("%d lines, %q", lines, summaryOf(got))
	}
}

func TestLogIsTracedUpToAReadError(t *testing.T) {
	var b strings.Builder
	broken := errors.New("broken")
	err := observe.Trace(io.MultiReader(strings.NewReader(logged(failedOver)), iotest.ErrReader(broken)), &b)
	if !errors.Is(err, broken) || b.String() != failedOverTrace {
		t.Errorf("%v and\n%s", err, b.String())
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

func TestWriteErrorIsReturned(t *testing.T) {
	full := errors.New("full")
	if err := observe.Trace(strings.NewReader(logged(failedOver)), failing{full}); !errors.Is(err, full) {
		t.Error(err)
	}
}

func FuzzTrace(f *testing.F) {
	f.Add(logged(failedOver), "lizard-1", int64(9), 0)
	f.Add("{\"time\":1}\n{\"kind\":\"transition\"}", "\x1b[2J\n", int64(-1<<63), -1)
	f.Add("\n\n\xff", strings.Repeat("ü", 100), int64(1<<62), 1<<30)
	f.Fuzz(func(t *testing.T, text, name string, ms int64, n int) {
		log := text + "\n" + printed(true, observe.Debug, observe.Record{
			Time: time.Unix(1e9, 0), Kind: observe.Transition, Device: name, From: name, To: "Failover", Event: name,
			Cause: name,
			Hub:   name, SpentMS: ms, Repeated: n,
		}, observe.Record{
			Time: time.Unix(1e9, 0), Kind: observe.Outcome, Device: name, Outcome: name, FromHub: name, Hub: "x" + name,
			SpentMS: ms,
		})
		got := trace(t, log)
		if i := strings.IndexFunc(got, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }); i >= 0 {
			t.Errorf("%q is printed", got[i])
		}
		if !strings.Contains(summaryOf(got), " device") {
			t.Errorf("it ends with %q", summaryOf(got))
		}
	})
}

func TestPrefixesAndWrappersOfLogSystemsAreIgnored(t *testing.T) {
	log := logged(failedOver)
	lines := strings.Split(strings.TrimSuffix(log, "\n"), "\n")
	for name, add := range map[string]func(n int, line string) string{
		"Docker Compose": func(_ int, line string) string { return "device-1  | " + line },
		"journald":       func(_ int, line string) string { return "Mar 01 08:00:00 pi failover[812]: " + line },
		"CRI":            func(_ int, line string) string { return "2026-03-01T08:00:00.1Z stderr F " + line },
		"Docker's file": func(_ int, line string) string {
			return fmt.Sprintf(`{"log":%q,"stream":"stderr","time":"2026-03-01T08:00:00.1Z"}`, line+"\n")
		},
		"a log truncated under its writer": func(n int, line string) string {
			if n == 0 {
				return strings.Repeat("\x00", 5000) + line
			}
			return line
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for n, line := range lines {
				b.WriteString(add(n, line) + "\n")
			}
			wantTrace(t, b.String(), trace(t, log))
		})
	}
}
