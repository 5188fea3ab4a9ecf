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
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// late is the delay of the hubs' PUBACKs, so that readings are always in flight.
const late = 100 * time.Millisecond

var kills = flag.Int("kills", 30, "how often the torture kills the device")

// A torture is a device that gets 200 readings a second and is killed repeatedly, while its hubs
// die and recover.
type torture struct {
	t        *testing.T
	cloud    *emulator.Cloud
	env      []string
	fed      atomic.Int64         // how many readings were offered; the body of each is its number
	accepted map[string]int       // what was offered under each ID that the device has answered with
	settled  map[string]time.Time // since when an ID may not come again
	early    int                  // how many deliveries there were before the device was started for the last time

	mu   sync.Mutex
	cuts []cut // in order
}

// A device that is killed loses no accepted reading and uses no number twice. It sends a reading
// again only if the reading was in flight, or if its acknowledgement was not on the disk yet.
func TestRepeatedKillsLoseNoReading(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	tt := newTorture(t)
	tt.run(*kills)
	again, most, err := tt.again()
	if err := errors.Join(tt.judge(), tt.crowded(), err); err != nil {
		t.Error(err)
	}
	if tt.early == 0 || len(tt.settled) == 0 {
		t.Errorf("%d were delivered before the last start and %d known to be settled, so the test checked nothing",
			tt.early,
			len(tt.settled))
	}
	t.Logf("%d kills, %d deaths of hubs: %d offered, %d accepted, %d known to be settled; %d deliveries before the "+
		"last start, "+
		"%d came again, at most %d after one kill or death", *kills, len(tt.cuts)-*kills, tt.fed.Load(),
		len(tt.accepted),
		len(tt.settled), tt.early, again, most)
}

// This test shows that the check can fail: readings in memory are lost when the process is killed.
func TestRepeatedKillsLoseReadingsInMemory(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	tt := newTorture(t, "FAILOVER_DURABILITY=memory")
	tt.run(5)
	if err := tt.judge(); err == nil {
		t.Errorf("killed five times, a device without a disk has lost nothing of %d readings", tt.fed.Load())
	}
}

func newTorture(t *testing.T, more ...string) *torture {
	t.Helper()
	cloud := newCloud(t)
	for _, hub := range []string{"A", "B"} {
		must(t, cloud.Inject(hub, emulator.LatePUBACK, emulator.Params{Delay: late}))
	}
	env := append(deviceEnv(t, cloud), "FAILOVER_HUB_WAIT=10ms", "FAILOVER_DPS_WAIT=10ms", "FAILOVER_LAST_WAIT=100ms")
	return &torture{t: t, cloud: cloud, env: append(env, more...), accepted: map[string]int{},
		settled: map[string]time.Time{}}
}

func (tt *torture) run(kills int) {
	done := make(chan struct{})
	var lizard sync.WaitGroup
	lizard.Go(func() { tt.attack(done) })
	kill := func(p *process, in io.WriteCloser) {
		tt.cut(func() {
			_ = p.cmd.Process.Kill()
			<-p.ended
			in.Close()
			wait(tt.t, tt.cloud, "the end of the session", func() bool { // until then, more may come of what was sent
				return !tt.cloud.Connected("dev1", "A") && !tt.cloud.Connected("dev1", "B")
			})
		})
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
	for _, hub := range []string{"A", "B"} { // a device that was killed more than it worked has a long backlog
		must(tt.t, tt.cloud.Clear(hub, emulator.LatePUBACK))
	}
	tt.life(func(p *process, in io.WriteCloser) {
		in.Close() // the end of the input: pending readings are delivered first
		p.wantExit(0)
	}, 100*time.Millisecond)
}

// attack kills the device's hub for a short time at random times. Each fifth time the cloud moves
// the device to the other hub.
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
	for deaths := 1; rest(1500); deaths++ {
		if deaths%5 == 0 {
			tt.cut(func() { must(tt.t, tt.cloud.MoveDevices(here, there)) })
			here, there = there, here
			continue
		}
		tt.cut(func() { must(tt.t, tt.cloud.KillHub(here, emulator.RST)) })
		rest(300)
		must(tt.t, tt.cloud.ReviveHub(here))
	}
}

// cut calls a function after which nothing is in flight, and records the time.
func (tt *torture) cut(do func()) {
	begin := time.Now()
	do()
	tt.mu.Lock()
	defer tt.mu.Unlock()
	tt.cuts = append(tt.cuts, cut{begin: begin, end: time.Now()})
}

// life sends readings to a device for a while and ends it.
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
	from := int(tt.fed.Load()) + 1
	reading.Go(func() { tt.listen(p, answers, from) })
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(after); ; {
		select {
		case <-tick.C:
			_, _ = fmt.Fprintf(feed, "%d\n", tt.fed.Add(1)) // a device that has died says so in other ways
			continue
		case <-deadline:
		}
		break
	}
	end(p, feed)
	reading.Wait()
}

var calledDelivered = regexp.MustCompile(` delivered (\S+) to `)

// A delivered is a reading whose delivery the device logged before it got the reading with this
// number.
type delivered struct {
	id     string
	before int
}

// listen records the answers of the device to its readings, whose numbers begin at from. The
// removal of a reading whose delivery was logged before another reading was offered is on the disk
// with that other reading at the latest. So it must not be delivered again once the other one is
// answered.
func (tt *torture) listen(p *process, answers *os.File, from int) {
	defer answers.Close()
	var called []delivered
	seen := 0 // of the log
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
		for ; len(called) > 0 && called[0].before <= from; called = called[1:] {
			if _, known := tt.settled[called[0].id]; !known {
				tt.settled[called[0].id] = time.Now()
			}
		}
		news := p.stderr.String()[seen:]
		news = news[:strings.LastIndexByte(news, '\n')+1]
		seen += len(news)
		next := int(tt.fed.Load()) + 1
		for _, m := range calledDelivered.FindAllStringSubmatch(news, -1) {
			called = append(called, delivered{m[1], next})
		}
	}
}
