//go:build unix

package main_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// The device gets SIGTERM while there is no hub for its pending readings.
func TestLostReadingsAreCountedAtTheEnd(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p := device(t, cloud, "--durability=memory")
	waitReadings(t, cloud, "A", 1)
	must(t, cloud.StopDPS(), cloud.KillHub("A", emulator.FIN))
	at := p.awaitAfter(0, "Connected -> Failover")
	for range 3 {
		at = p.awaitAfter(at, "taken ")
	}
	p.terminate(5)
	log := p.stderr.String()
	lost := strings.Count(log, "DBG taken ") - strings.Count(log, "DBG delivered ")
	if want := fmt.Sprintf("failover: machine: readings were lost: %d were not delivered", lost); lost < 3 ||
		!strings.Contains(log, want) {
		t.Errorf("%q is not in\n%s", want, log)
	}
}

func TestBothSignalsCloseCleanly(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			cloud := newCloud(t)
			p := device(t, cloud)
			waitReadings(t, cloud, "A", 1)
			p.signal(s)
			p.wantExit(0)
			if log := p.stderr.String(); !strings.Contains(log, "Connected -> Closing on close") ||
				strings.Contains(log, "failover:") {
				t.Errorf("it says:\n%s", log)
			}
		})
	}
}

// ignoresSilence has the arguments of a device that does not notice a silent hub and sends only
// readings.
var ignoresSilence = []string{"run", "--silence=1h", "--keep-alive=600s", "--no-reported-properties"}

func TestSecondSignalEndsTheProcessAtOnce(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"in the foreground": `exec "$0" "$@"`,
		"in the background": `trap "" INT; exec "$0" "$@"`, // as a shell without job control starts it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud, network := freezingCloud(t)
			p := start(t, inShell(command(t, deviceEnv(t, cloud), append(ignoresSilence, "--close-timeout=1h")...),
				script))
			p.await("delivered")
			network.freeze(t)
			defer network.thaw()
			p.signal(syscall.SIGINT)
			p.await("Connected -> Closing")
			begin := time.Now()
			p.signal(syscall.SIGINT)
			p.wantExit(1)
			if took := time.Since(begin); took > time.Second {
				t.Errorf("it ended %s after the second signal", took)
			}
		})
	}
}

// The hub receives nothing any more, and nobody reads the log.
func TestCloseTimeoutHoldsWhenAHubIsSilent(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud, network := freezingCloud(t)
	c := command(t, deviceEnv(t, cloud),
		append(ignoresSilence, "--telemetry-interval=500us", "--close-timeout=2s", "--durability=memory")...)
	c.Stderr = unread(t)
	p := start(t, c)
	waitReadings(t, cloud, "A", fill)
	network.freeze(t)
	defer network.thaw()
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	p.wantExit(5)
	// closing the log takes at most twice half a second
	if took := time.Since(begin); took < 2*time.Second || took > 4*time.Second {
		t.Errorf("it took %s to end", took)
	}
}
