package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// idList finds IDs such as 8f3a1c02-17-20,25.
var idList = regexp.MustCompile(`\b([0-9a-f]{8})-(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)`)

var hands = flag.Int("hands", 10, "how often the torture takes the state directory away")

// A directoryTorture is a device that gets 100 readings a second while its state directory is
// removed, renamed, replaced, truncated or mounted over. The device is ended by SIGKILL or SIGTERM
// and started again.
type directoryTorture struct {
	*torture
	state  string
	older  string // a copy of the state directory from before
	kinds  map[string]int
	mounts bool // whether this process may mount file systems

	mu      sync.Mutex
	answers []answered
	changes []change
	ends    []ended // of lives
	logs    strings.Builder
}

// An answered reading is one that a process has accepted.
type answered struct {
	id      string
	body    string
	life    int
	process string
	read    time.Time // the answer was given a little earlier
}

// A change is a change of the directory, with its time.
type change struct {
	what       string
	life       int
	begin, end time.Time
}

// An ended life is the life of a process that a signal ended.
type ended struct {
	life   int
	killed bool
	at     time.Time
}

// Each reading that is accepted after a change is delivered. One that was accepted before it is
// delivered or named, unless the process was killed too soon after the change. Two processes
// never accept readings under one path.
func TestRemovedStateDirectoryLosesNoReadingUnnamed(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	d := &directoryTorture{torture: newTorture(t), state: filepath.Join(t.TempDir(), "st"), kinds: map[string]int{}}
	d.older = d.state + ".older"
	d.mounts = mayMount(t)
	t.Cleanup(func() {
		for d.mounts && syscall.Unmount(d.state, syscall.MNT_DETACH) == nil { // of a test that failed half-way
		}
	})
	d.env = append(d.env, "FAILOVER_STATE_DIR="+d.state, "FAILOVER_LOG_LEVEL=info")
	done := make(chan struct{})
	var lizard sync.WaitGroup
	lizard.Go(func() { d.attack(done) })
	for i := range *hands {
		d.round(i)
	}
	close(done)
	lizard.Wait()
	for _, hub := range []string{"A", "B"} {
		must(t, d.cloud.Clear(hub, emulator.LatePUBACK))
	}
	p, f := d.start(*hands, "the last", d.env)
	must(t, f.Close()) // the end of the input: pending readings are delivered first
	p.exit()
	f.heard.Wait()
	d.logs.WriteString(p.stderr.String())
	d.judge()
}

// mayMount reports whether this process may mount file systems.
func mayMount(t *testing.T) bool {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Log("nothing is mounted over the directory: ", err)
		return false
	}
	return syscall.Unmount(dir, 0) == nil
}

// round runs the device once and changes the directory once meanwhile.
func (d *directoryTorture) round(life int) {
	p, f := d.start(life, "the device", d.env)
	stop := make(chan struct{})
	var feeding sync.WaitGroup
	feeding.Go(func() { d.feed(p, f, stop) })
	nap(200, 1500)
	if rand.IntN(4) == 0 {
		_ = os.RemoveAll(d.older)
		_ = os.CopyFS(d.older, os.DirFS(d.state)) // as far as it can be copied while it changes
	}
	cleanup := d.change(life)
	nap(0, 2500)
	killed := rand.IntN(3) > 0
	d.ends = append(d.ends, ended{life, killed, time.Now()})
	if killed {
		p.signal(syscall.SIGKILL)
	} else {
		p.signal(syscall.SIGTERM)
	}
	p.exit()
	close(stop)
	feeding.Wait()
	f.Close()
	f.heard.Wait()
	cleanup()
	d.logs.WriteString(p.stderr.String())
}

func nap(least, more int) { time.Sleep(time.Duration(least+rand.IntN(more)) * time.Millisecond) }

// A feeding is the standard input of a process, with what was written to it.
type feeding struct {
	io.WriteCloser
	mu     sync.Mutex
	bodies []string
	heard  sync.WaitGroup // until the process answers no more
}

func (f *feeding) write(body string) {
	f.mu.Lock()
	f.bodies = append(f.bodies, body)
	f.mu.Unlock()
	_, _ = io.WriteString(f, body+"\n") // a process that has ended says so in other ways
}

func (f *feeding) body(i int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bodies[i]
}

func (d *directoryTorture) start(life int, name string, env []string) (*process, *feeding) {
	c := command(d.t, env, "run", "--stdin")
	in, feed, err := os.Pipe()
	must(d.t, err)
	answers, out, err := os.Pipe()
	must(d.t, err)
	c.Stdin, c.Stdout = in, out
	p := start(d.t, c)
	in.Close()
	out.Close()
	f := &feeding{WriteCloser: feed}
	f.heard.Go(func() { d.hear(life, name, answers, f) })
	return p, f
}

// feed writes a reading every 10 ms. The body of a reading is its number.
func (d *directoryTorture) feed(p *process, f *feeding, stop chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.write(strconv.FormatInt(d.fed.Add(1), 10))
		case <-stop:
			return
		case <-p.ended:
			return
		}
	}
}

// hear records the answers of a process: a line for each reading, in order.
func (d *directoryTorture) hear(life int, name string, answers *os.File, f *feeding) {
	defer answers.Close()
	lines := bufio.NewScanner(answers)
	for i := 0; lines.Scan(); i++ {
		var a said
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			d.t.Errorf("%s answered %q", name, lines.Bytes())
			continue
		}
		d.mu.Lock()
		d.answers = append(d.answers, answered{id: a.ID, body: f.body(i), life: life, process: name, read: time.Now()})
		d.mu.Unlock()
	}
}

// change changes the directory once. The returned function waits for the end of the change and
// removes what is left of it.
func (d *directoryTorture) change(life int) (cleanup func()) {
	ways := d.ways()
	what := slices.Sorted(maps.Keys(ways))[rand.IntN(len(ways))]
	begin := time.Now()
	wait, err := ways[what](life)
	d.changes = append(d.changes, change{what, life, begin, time.Now()})
	if err != nil {
		what += ", in vain"
	}
	d.kinds[what]++
	return func() {
		if wait != nil {
			wait()
		}
		_ = os.RemoveAll(d.state + ".old")
	}
}

func (d *directoryTorture) ways() map[string]func(life int) (func(), error) {
	outbox := filepath.Join(d.state, "outbox")
	away := func() error { return os.Rename(d.state, d.state+".old") }
	plain := func(do func() error) func(int) (func(), error) {
		return func(int) (func(), error) { return nil, do() }
	}
	ways := map[string]func(int) (func(), error){
		"removed":            plain(func() error { return os.RemoveAll(d.state) }),
		"outbox removed":     plain(func() error { return os.RemoveAll(outbox) }),
		"lock removed":       plain(func() error { return os.Remove(filepath.Join(d.state, "lock")) }),
		"files removed":      plain(func() error { return each(outbox, 1, os.Remove) }),
		"a file removed":     plain(func() error { return each(outbox, 0.4, os.Remove) }),
		"files emptied":      plain(func() error { return each(outbox, 1, empty) }),
		"a file emptied":     plain(func() error { return each(outbox, 0.4, empty) }),
		"renamed":            plain(away),
		"an empty directory": plain(func() error { return errors.Join(away(), os.Mkdir(d.state, 0o700)) }),
		"a copy": plain(func() error {
			return errors.Join(os.CopyFS(d.state+".copy", os.DirFS(d.state)), away(),
				os.Rename(d.state+".copy", d.state))
		}),
		"an older copy": plain(func() error {
			if _, err := os.Stat(d.older); err != nil {
				return err
			}
			return errors.Join(os.RemoveAll(d.state), os.Rename(d.older, d.state))
		}),
		"renamed, and a second device": func(life int) (func(), error) {
			err := away()
			return d.intrude(life), err
		},
	}
	if d.mounts {
		ways["mounted over and lazily unmounted"] = func(int) (func(), error) {
			err := syscall.Mount("none", d.state, "tmpfs", 0, "size=16m")
			nap(0, 1500)
			return nil, errors.Join(err, syscall.Unmount(d.state, syscall.MNT_DETACH))
		}
		ways["another directory bound over it"] = func(int) (func(), error) {
			err := errors.Join(os.MkdirAll(d.state+".bound", 0o700),
				syscall.Mount(d.state+".bound", d.state, "", syscall.MS_BIND, ""))
			nap(0, 1500)
			return nil, errors.Join(err, syscall.Unmount(d.state, syscall.MNT_DETACH))
		}
	}
	return ways
}

func each(dir string, share float64, do func(string) error) error {
	names, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	var errs []error
	for _, name := range names {
		if rand.Float64() < share {
			errs = append(errs, do(name))
		}
	}
	return errors.Join(errs...)
}

func empty(name string) error { return os.Truncate(name, 0) }

// intrude starts a second device without a DPS on the path, and ends it after a while.
func (d *directoryTorture) intrude(life int) (wait func()) {
	env := append(slices.Clone(d.env), "FAILOVER_PROVISIONING_HOST=127.0.0.1:1")
	p, f := d.start(life, "the second device", env)
	var living sync.WaitGroup
	living.Go(func() {
		stop := make(chan struct{})
		time.AfterFunc(time.Duration(rand.IntN(1500))*time.Millisecond, func() { close(stop) })
		d.feed(p, f, stop)
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.ended
		f.Close()
		f.heard.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.logs.WriteString(p.stderr.String())
	})
	return living.Wait
}

// judge compares the accepted readings with those that were delivered or named as missing.
func (d *directoryTorture) judge() {
	delivered := map[string][]string{} // the bodies that arrived under an ID
	named := map[string]bool{}
	for _, x := range d.cloud.Ledger() {
		delivered[x.MessageID] = append(delivered[x.MessageID], string(x.Body))
		epoch, _, _ := strings.Cut(x.MessageID, "-")
		noteIDs(named, epoch, x.Properties["failover-missing"])
	}
	for line := range strings.Lines(d.logs.String()) {
		if strings.Contains(line, "dropped (") || strings.Contains(line, "are lost if") {
			for _, m := range idList.FindAllStringSubmatch(line, -1) {
				noteIDs(named, m[1], m[2])
			}
		}
	}
	excused, missing := 0, 0
	for _, a := range d.answers {
		switch {
		case a.id == "" || slices.Contains(delivered[a.id], a.body):
		case named[a.id]:
			missing++
		case d.excused(a):
			excused++
		default:
			d.t.Errorf("%s, which %s accepted in life %d before %s, is neither delivered nor named; %v", a.id,
				a.process, a.life,
				a.read.Format("05.000"), d.story(a.life))
		}
	}
	d.together()
	accepted := len(d.answers)
	d.t.Logf("%d rounds: %v; %d answers, %d named as missing, %d excused by a SIGKILL within %s", *hands,
		d.kinds, accepted, missing, excused, timeToName())
	if accepted == 0 {
		d.t.Error("nothing was accepted")
	}
}

// story lists what happened in a life and in the lives after it.
func (d *directoryTorture) story(life int) (all []string) {
	for _, c := range d.changes {
		if c.life >= life {
			all = append(all, fmt.Sprint(c.what, " ", c.begin.Format("05.000"), " ", c.end.Format("05.000")))
		}
	}
	for _, e := range d.ends {
		if e.life >= life {
			all = append(all, fmt.Sprint("killed ", e.killed, " ", e.at.Format("05.000")))
		}
	}
	return all
}

// timeToName returns how long after a change the device may still have to name what is missing: a second,
// or more if the test runs beside others that keep the disk and the processor busy.
func timeToName() time.Duration {
	if *hands > 10 {
		return time.Second
	}
	return 2 * time.Second
}

// excused reports whether a reading was accepted before a change, and the process was killed before
// the device had to name the reading.
func (d *directoryTorture) excused(a answered) bool {
	for i, c := range d.changes {
		// The answer may have been in the pipe when the change began.
		if c.life >= a.life && a.read.Add(-50*time.Millisecond).Before(c.end) && d.ends[i].killed &&
			d.ends[i].at.Sub(c.end) < timeToName() {
			return true
		}
	}
	return false
}

// together reports readings that two devices accepted on the same path at the same time.
func (d *directoryTorture) together() {
	for life := range *hands {
		var first, last time.Time
		for _, a := range d.answers {
			if a.life == life && a.process == "the second device" && a.id != "" {
				if first.IsZero() {
					first = a.read
				}
				last = a.read
			}
		}
		for _, a := range d.answers {
			if a.life == life && a.process == "the device" && a.id != "" &&
				a.read.After(first.Add(50*time.Millisecond)) &&
				a.read.Before(last) {
				d.t.Errorf("in life %d both devices accepted readings at %s", life, a.read.Format("05.000"))
			}
		}
	}
}

// noteIDs records IDs such as "17-20,25".
func noteIDs(named map[string]bool, epoch, ranges string) {
	for part := range strings.SplitSeq(ranges, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 64)
		last, err2 := strconv.ParseUint(to, 10, 64)
		for n := first; err == nil && err2 == nil && n <= last; n++ {
			named[fmt.Sprint(epoch, "-", n)] = true
		}
	}
}
