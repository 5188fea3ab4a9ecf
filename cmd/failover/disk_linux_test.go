package main_test

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

const (
	diskIsBad  = "readings cannot be written"
	diskIsWell = "readings can be written again"
)

func TestDeviceWithAFailingDiskStaysConnectedAndRecovers(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	const takeNoMore = "FAILOVER_QUEUE_FULL=drop-newest"
	for name, on := range map[string]func(*testing.T) *diskTrial{
		"full":                 func(t *testing.T) *diskTrial { return onASmallDisk(t) },
		"full, drop-newest":    func(t *testing.T) *diskTrial { return onASmallDisk(t, takeNoMore) },
		"limited":              func(t *testing.T) *diskTrial { return underALimit(t) },
		"limited, drop-newest": func(t *testing.T) *diskTrial { return underALimit(t, takeNoMore) },
		"read only":            onADirectory,
		"no more files":        withoutFiles,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := on(t)
			d.offer(20)
			waitReadings(t, d.cloud, "A", 20)
			d.hit()
			d.offer(2000) // some may find room
			d.p.await(diskIsBad)
			if files := name == "no more files"; files != strings.Contains(d.p.stderr.String(),
				"let the process open more files") {
				t.Errorf("what to do: %s", &d.p.stderr)
			}
			if _, _, err := d.cloud.InvokeMethod(t.Context(), "dev1", "no such method", nil); err != nil {
				t.Errorf("it does not answer: %v", err)
			}
			d.mend()
			for i := 0; !strings.Contains(d.p.stderr.String(), diskIsWell); i++ {
				if i == 1000 {
					t.Fatal("the disk is well, and the device does not notice")
				}
				d.offer(1)
			}
			d.offer(20)
			must(t, d.feed.Close())
			d.p.wantExit(5) // some readings are dropped
			d.wantNothingUnnamed(true)
			if n := d.cloud.Connects("dev1", "A"); n != 1 {
				t.Errorf("it connected %d times", n)
			}
		})
	}
}

// With the policy block no reading is refused: the writer of the input waits for the disk.
func TestBlockPolicyWaitsForAFullDisk(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	for name, on := range map[string]func(*testing.T, ...string) *diskTrial{"full": onASmallDisk,
		"limited": underALimit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := on(t, "FAILOVER_QUEUE_FULL=block")
			d.offer(20)
			d.hit()
			_, err := io.WriteString(d.feed, strings.Repeat("1\n", 2000))
			must(t, err, d.feed.Close())
			d.p.await(diskIsBad)
			d.mend()
			d.p.wantExit(0)
			d.wantNothingUnnamed(false)
			if n := len(answers(t, d.p)); n != 2020 {
				t.Errorf("%d of 2020 are answered", n)
			}
		})
	}
}

// Without a hub readings are pending. When the disk is full for the second time, those from before
// the first time have a file of their own.
func TestFullDiskDropsReadingsAccordingToPolicy(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	for policy, givenUp := range map[string][]uint64{"drop-oldest": {2, 3, 4}, "drop-newest": nil} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			d := underALimit(t, "FAILOVER_QUEUE_FULL="+policy, "FAILOVER_HUB_WAIT=10ms", "FAILOVER_DPS_WAIT=10ms",
				"FAILOVER_LAST_WAIT=100ms")
			d.offer(1)
			d.p.await("delivered")
			must(t, d.cloud.StopDPS(), d.cloud.KillHub("A", emulator.FIN))
			d.p.await("Connected -> Failover")
			for range 2 {
				d.offer(3)
				d.hit()
				d.offer(1)
				d.mend()
			}
			d.offer(1) // names the others
			must(t, d.cloud.StartDPS(), d.cloud.ReviveHub("A"), d.feed.Close())
			d.p.wantExit(5)
			d.wantNothingUnnamed(true, givenUp...)
		})
	}
}

// If a disk refuses all readings until the end, no later reading can name the missing ones.
func TestDiskThatStaysFullIsReportedAtTheEndWithTheNextStep(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	d := underALimit(t)
	d.offer(20)
	waitReadings(t, d.cloud, "A", 20)
	d.hit()
	d.offer(3)
	must(t, d.feed.Close())
	d.p.wantExit(5)
	log := d.p.stderr.String()
	n := 0
	for _, m := range regexp.MustCompile(`WRN dropped (?:(\d+) readings )?\(disk\)`).FindAllStringSubmatch(log, -1) {
		count, _ := strconv.Atoi(m[1])
		n += max(1, count)
	}
	if n != 3 || !strings.Contains(log, "readings were lost: 0 were not delivered before the end, 3 were dropped") {
		t.Errorf("three readings were refused, with this record:\n%s", log)
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "outbox: close: ") ||
		!strings.Contains(last, "file too large; make room") {
		t.Errorf("in the end it says %q", last)
	}
}

// The error of a process that may open too few files says so; it does not suggest another
// directory, because that would abandon the pending readings.
func TestTooLowLimitOfOpenFilesIsReported(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	said := 0
	for limit := 6; limit < 14; limit++ {
		c := inShell(command(t, env, "run", "--stdin"), fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, limit))
		c.Stdin = strings.NewReader("")
		p := start(t, c)
		p.exit()
		text := p.stderr.String()
		if strings.Contains(text, "too many open files; ") {
			said++
		}
		for _, wrong := range []string{"make room", "use a directory", "give this device a directory", "make the"} {
			if strings.Contains(text, "files; "+wrong) {
				t.Errorf("with %d files: %s", limit, text)
			}
		}
	}
	if said == 0 {
		t.Error("no limit was too low")
	}
}
