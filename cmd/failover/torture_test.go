//go:build unix

package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

var kills = flag.Int("kills", 30, "how often the torture kills the device")

// A torture is a device that is fed 200 readings a second and killed again and again, while its hubs die and revive.
type torture struct {
	t        *testing.T
	cloud    *emulator.Cloud
	env      []string
	fed      int            // how many readings were offered; the body of each is its number
	accepted map[string]int // what was offered under each ID that the device has answered with
	deaths   int            // of hubs
	early    int            // how many were delivered before the device was started for the last time
}

// A device that is killed loses no reading that it had accepted, and gives no number twice. A kill, or a hub's death, sends at
// most the window again, and a kill also what was acknowledged since the last commit, for which the same bound is taken.
func TestADeviceThatIsKilledAgainAndAgainLosesNothing(t *testing.T) {
	t.Parallel()
	tt := newTorture(t)
	tt.run(*kills)
	duplicates, err := tt.judge()
	if err != nil {
		t.Error(err)
	}
	const window = 64
	if most := window * (2**kills + tt.deaths); duplicates > most {
		t.Errorf("%d readings were delivered twice; at most %d are allowed", duplicates, most)
	}
	if tt.early == 0 {
		t.Error("nothing was delivered before the last start, so nothing was tried")
	}
	t.Logf("%d kills, %d deaths of hubs: %d offered, %d accepted, %d delivered before the last start, %d delivered twice",
		*kills, tt.deaths, tt.fed, len(tt.accepted), tt.early, duplicates)
}

// The check can fail: readings that wait in memory die with the process.
func TestADeviceThatKeepsReadingsInMemoryFailsTheSameCheck(t *testing.T) {
	t.Parallel()
	tt := newTorture(t, "FAILOVER_DURABILITY=memory")
	tt.run(5)
	if _, err := tt.judge(); err == nil {
		t.Errorf("killed five times, a device without a disk has lost nothing of %d readings", tt.fed)
	}
}

func newTorture(t *testing.T, more ...string) *torture {
	t.Helper()
	cloud := newCloud(t)
	env := append(deviceEnv(t, cloud), "FAILOVER_LOG_LEVEL=warn", "FAILOVER_FIRST_WAIT=10ms", "FAILOVER_LAST_WAIT=100ms")
	return &torture{t: t, cloud: cloud, env: append(env, more...), accepted: map[string]int{}}
}

func (tt *torture) run(kills int) {
	done := make(chan struct{})
	var lizard sync.WaitGroup
	lizard.Go(func() { tt.attack(done) })
	kill := func(p *process, in io.WriteCloser) {
		_ = p.cmd.Process.Kill()
		<-p.ended
		in.Close()
	}
	for i := range kills {
		life := time.Duration(50+rand.IntN(700)) * time.Millisecond
		if i%5 == 0 {
			life += 1500 * time.Millisecond // DPS takes a second
		}
		tt.life(kill, life)
	}
	close(done)
	lizard.Wait()
	tt.early = len(tt.cloud.Ledger())
	tt.life(func(p *process, in io.WriteCloser) {
		in.Close() // the end of the input: what waits is delivered first
		p.wantExit(0)
	}, 100*time.Millisecond)
}

// attack kills the device's hub at random moments, for a moment. Each fifth time the cloud moves the device to the other one.
func (tt *torture) attack(done chan struct{}) {
	rest := func(most int) bool {
		select {
		case <-done:
			return false
		case <-time.After(time.Duration(100+rand.IntN(most)) * time.Millisecond):
			return true
		}
	}
	here, there := "A", "B"
	for rest(1500) {
		tt.deaths++
		if tt.deaths%5 == 0 {
			must(tt.t, tt.cloud.MoveDevices(here, there))
			here, there = there, here
			continue
		}
		must(tt.t, tt.cloud.KillHub(here, emulator.RST))
		rest(300)
		must(tt.t, tt.cloud.ReviveHub(here))
	}
}

// life feeds a device for a while and ends it.
func (tt *torture) life(end func(*process, io.WriteCloser), after time.Duration) {
	c := command(tt.t, tt.env, "run", "--stdin")
	in, feed, err := os.Pipe()
	must(tt.t, err)
	answers, out, err := os.Pipe()
	must(tt.t, err)
	c.Stdin, c.Stdout = in, out
	p := start(tt.t, c)
	in.Close()
	out.Close()
	var reading sync.WaitGroup
	from := tt.fed + 1
	reading.Go(func() { tt.listen(answers, from) })
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(after); ; {
		select {
		case <-tick.C:
			if _, err := fmt.Fprintf(feed, "%d\n", tt.fed+1); err == nil {
				tt.fed++
			}
			continue
		case <-deadline:
		}
		break
	}
	end(p, feed)
	reading.Wait()
}

// listen notes what the device answers to the readings that it is offered, the first of which is number from.
func (tt *torture) listen(answers *os.File, from int) {
	defer answers.Close()
	for lines := bufio.NewScanner(answers); lines.Scan(); from++ {
		var a said
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil || a.ID == "" {
			tt.t.Errorf("the device answered %s", lines.Bytes())
			continue
		}
		if other, twice := tt.accepted[a.ID]; twice {
			tt.t.Errorf("%s is the ID of %d and of %d", a.ID, other, from)
		}
		tt.accepted[a.ID] = from
	}
}

// judge compares what the device accepted with what the hubs have: one epoch, each number from 1 to the last, and under each
// ID the reading that was accepted under it.
func (tt *torture) judge() (duplicates int, err error) {
	bodies, epoch, last := map[uint64]string{}, "", uint64(0)
	var errs []error
	wrong := func(format string, values ...any) { errs = append(errs, fmt.Errorf(format, values...)) }
	for _, d := range tt.cloud.Ledger() {
		e, number, _ := strings.Cut(d.MessageID, "-")
		n, bad := strconv.ParseUint(number, 10, 64)
		if epoch == "" {
			epoch = e
		}
		if bad != nil || e != epoch {
			wrong("%s is not of epoch %s", d.MessageID, epoch)
			continue
		}
		if body, twice := bodies[n]; twice {
			duplicates++
			if body != string(d.Body) {
				wrong("%s was %s and then %s", d.MessageID, body, d.Body)
			}
		}
		bodies[n] = string(d.Body)
		last = max(last, n)
	}
	for n := uint64(1); n <= last; n++ {
		if _, ok := bodies[n]; !ok {
			wrong("%s-%d is missing", epoch, n)
		}
	}
	for id, body := range tt.accepted {
		_, number, _ := strings.Cut(id, "-")
		n, _ := strconv.ParseUint(number, 10, 64)
		if !strings.HasPrefix(id, epoch+"-") || bodies[n] != strconv.Itoa(body) {
			wrong("%s was accepted as %d and delivered as %q", id, body, bodies[n])
		}
	}
	for _, v := range tt.cloud.Violations() {
		if !strings.Contains(v, "polled more than") { // how often, only the process knew that was killed
			wrong("%s", v)
		}
	}
	return duplicates, errors.Join(errs[:min(len(errs), 10)]...)
}
