//go:build unix

package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
)

// aShortDay takes 15 seconds. The device is moved at the moment its hub dies, because otherwise the
// time at which it notices would be random.
const aShortDay = `# The hub dies and the device is moved.
every 2s from 9s method echo "hello"
at 2s desired {"fanSpeed":2}
at 3s kill A for 4s
at 3s move B
at 8s command setAlarm "08:30:00Z"
expect recovery 8s
expect missing 0
expect duplicates 3
expect methods-unanswered 0
expect commands-unanswered 0
expect desired-unacknowledged 0
expect attempts-a-minute 10
end 15s`

type card struct {
	Scenario string
	Readings int
	Rows     []struct {
		What     string
		Measured float64
		Limit    *float64
	}
}

func (c card) row(what string) float64 {
	for _, r := range c.Rows {
		if r.What == what {
			return r.Measured
		}
	}
	return math.NaN()
}

// Two drills at the same time have the same cards, except for times.
func TestDrillPassesTheDeviceTwiceWithTheSameCard(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	day, page := file(t, "day.txt", aShortDay), filepath.Join(t.TempDir(), "card.html")
	var cards [2]card
	var drills sync.WaitGroup
	for i := range cards {
		drills.Go(func() {
			p := start(t, command(t, nil, "drill", "--scenario", day, "--interval", "500ms", "-o", "json", "--html",
				page))
			select { // it takes nearly as long as waitTimeout by itself
			case <-p.ended:
			case <-time.After(2 * waitTimeout):
			}
			p.wantExit(0)
			var r struct{ Cards []card }
			if err := json.Unmarshal([]byte(p.stdout.String()), &r); err != nil || len(r.Cards) != 1 {
				t.Errorf("%v: %s", err, &p.stdout)
				return
			}
			cards[i] = r.Cards[0]
		})
	}
	drills.Wait()
	a, b := cards[0], cards[1]
	if len(a.Rows) == 0 || !strings.HasSuffix(a.Scenario, "day.txt") || a.Readings < 30 {
		t.Fatalf("%+v", a)
	}
	for _, r := range a.Rows {
		tolerance := map[string]float64{"slowest recovery": 2, "readings delivered twice": 3,
			"readings out of order": 10, "CPU time in a minute": 60, "memory at most": 20}[r.What]
		if other := b.row(r.What); math.Abs(other-r.Measured) > tolerance {
			t.Errorf("%s: %g once, %g the other time", r.What, r.Measured, other)
		}
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "slowest recovery") {
		t.Errorf("the page: %v, %d bytes", err, len(text))
	}
}

// The drill does not wait for the end of the scenarios, which together last twelve minutes.
func TestDrillReportsAClientThatDies(t *testing.T) {
	t.Parallel()
	day := file(t, "day.txt", "at 100ms kill A for 100ms\nexpect recovery 1s\nend 2m")
	p := start(t, command(t, nil, "drill", "--scenario", day, "--scenario", "bad-day", "--client",
		`echo "the key is $FAILOVER_DEVICE_KEY"; echo "\033[31mno such broker"; exit 3`))
	p.wantExit(6)
	for _, want := range []string{
		"day.txt: MISSED 2.", "bad-day: MISSED",
		` s with exit code 3: \x1b[31mno such broker` + "\n", "    the key is (a secret)\n", "0 of 2 scenarios passed.",
	} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("there is no %q in\n%s", want, &p.stdout)
		}
	}
}

// A second signal ends the drill at once, and SIGKILL too.
func TestClientEndsWhenTheDrillIsKilled(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"and ignores SIGTERM":           "trap '' TERM; exec >%s; sleep 100; sleep 100",
		"and goes on in the background": "(exec >%s; exec sleep 100) & true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipe := filepath.Join(t.TempDir(), "pipe")
			must(t, syscall.Mkfifo(pipe, 0o600))
			is, gone := make(chan bool), make(chan error, 1)
			go func() {
				client, err := os.Open(pipe) // waits for the client
				if err == nil {
					close(is)
					_, err = client.Read(make([]byte, 1))
					client.Close()
				}
				gone <- err
			}()
			p := start(t, command(t, []string{"TMPDIR=" + t.TempDir()}, "drill", "--scenario", "bad-day", "--client",
				fmt.Sprintf(line, pipe)))
			within(t, is)
			p.signal(syscall.SIGKILL)
			if err := within(t, gone); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		})
	}
}

// within returns the next value, and fails the test if none arrives in time.
func within[T any](t *testing.T, news <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-news:
	case <-time.After(waitTimeout):
		t.Fatal("nothing arrived in time")
	}
	return v
}

func TestUnwritablePageIsReportedBeforeTheDrill(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "nowhere", "card.html")
	// ten minutes
	code, stdout, stderr := run(t, nil, "drill", "--scenario", "bad-day", "--client", "exit 3", "--html", page)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "--html: ") || strings.Contains(stderr, "1 of 1") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

// The cards are printed although the page cannot be written.
func TestCardsArePrintedWhenThePageCannotBeWritten(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "there")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	day := file(t, "day.txt", "expect missing 0\nend 1s")
	p := start(t, command(t, nil, "drill", "--scenario", day, "--client", "rm -r "+dir, "--html",
		filepath.Join(dir, "card.html")))
	p.wantExit(1)
	if !strings.Contains(p.stdout.String(), "0 of 1 scenarios passed.") ||
		!strings.Contains(p.stderr.String(), "--html: ") {
		t.Errorf("%q, %q", &p.stdout, &p.stderr)
	}
}

func TestDrillRefusesWrongFlags(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	bad := file(t, "bad.txt", "at 10s kill C\nend 1m")
	for args, want := range map[string]string{
		"--scenario nowhere": `"nowhere"`, "--scenario " + bad: "line 1", "--output xml": "table or json",
		"--interval 1ms": "at least 10ms",
		"--devices -1":   "at least 1", "--devices 0": "at least 1", "--devices 2 --client x": "a fleet consists of " +
			"devices of this program", "--spread 1s": "--devices",
		"polite-failover": "with --scenario",
	} {
		code, stdout, stderr := run(t, nil, append([]string{"drill"}, strings.Fields(args)...)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("drill %s: exit code %d, %q", args, code, stderr)
		}
	}
}

func TestFleetRecovers(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	p := start(t, command(t, nil, "drill", "--devices", "20", "--spread", "500ms", "-o", "json"))
	p.wantExit(0)
	var r struct{ Devices, Recovered, Missing int }
	if err := json.Unmarshal([]byte(p.stdout.String()), &r); err != nil || r.Devices != 20 || r.Recovered != 20 ||
		r.Missing != 0 {
		t.Errorf("%v: %s", err, &p.stdout)
	}
}
