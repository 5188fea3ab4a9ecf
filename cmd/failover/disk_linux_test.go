package main_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/outbox"
)

// A diskTrial is a device whose state is on a disk that can be made to fail.
type diskTrial struct {
	p         *process
	feed      io.WriteCloser
	cloud     *emulator.Cloud
	pad       string // makes readings larger
	fed       int    // how many readings it was offered
	answered  int    // up to where its answers have been read
	hit, mend func()
}

func newDiskTrial(t *testing.T, state, before string, attr *syscall.SysProcAttr, env ...string) *diskTrial {
	t.Helper()
	d := &diskTrial{cloud: newCloud(t)}
	env = append(append(deviceEnv(t, d.cloud), env...), "FAILOVER_STATE_DIR="+state)
	c := inShell(command(t, env, "run", "--stdin"), before+` exec "$0" "$@"`)
	c.SysProcAttr = attr
	in, feed, err := os.Pipe()
	must(t, err)
	c.Stdin, d.feed = in, feed
	d.p = start(t, c)
	in.Close()
	t.Cleanup(func() { feed.Close() })
	return d
}

// inItsOwn is what gives a process a user namespace, in which it is uid.
func inItsOwn(uid int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getgid(), Size: 1}},
	}
}

// onASmallDisk starts a device on a file system of half a MiB that only it can see, and what goes through its /proc.
func onASmallDisk(t *testing.T, env ...string) *diskTrial {
	t.Helper()
	mount := t.TempDir()
	if out, err := exec.Command("unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", mount).CombinedOutput(); err != nil {
		t.Skipf("no file system of its own can be made here: %v: %s", err, out)
	}
	attr := inItsOwn(0)
	attr.Cloneflags |= syscall.CLONE_NEWNS
	d := newDiskTrial(t, mount+"/state", "mount -t tmpfs -o size=512k none '"+mount+"';", attr, env...)
	ballast := filepath.Join(fmt.Sprintf("/proc/%d/root", d.p.cmd.Process.Pid), mount, "ballast")
	d.hit = func() {
		if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
	}
	d.mend = func() { must(t, os.Remove(ballast)) }
	return d
}

// onADirectory starts a device, which is not root, with a directory that can be made read-only. What it has open stays writable,
// so it takes large readings to see that.
func onADirectory(t *testing.T) *diskTrial {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state")
	var attr *syscall.SysProcAttr
	if os.Getuid() == 0 {
		attr = inItsOwn(1000)
		as := exec.Command("true")
		as.SysProcAttr = attr
		if err := as.Run(); err != nil {
			t.Skip("root may write anywhere, and cannot be somebody else here: ", err)
		}
	}
	d := newDiskTrial(t, state, "", attr)
	d.pad = strings.Repeat(" ", 4096)
	d.hit = func() { must(t, os.Chmod(state+"/outbox", 0o500)) }
	d.mend = func() { must(t, os.Chmod(state+"/outbox", 0o700)) }
	t.Cleanup(d.mend)
	return d
}

// offer feeds the device readings and waits until all are answered.
func (d *diskTrial) offer(readings int) {
	d.p.t.Helper()
	for range readings {
		_, err := fmt.Fprintf(d.feed, "[%s%d]\n", d.pad, d.fed)
		must(d.p.t, err)
		d.fed++
	}
	for range readings {
		d.answered = d.p.stdout.await(d.p, d.answered, "\n")
	}
}

// wantNothingUnnamed compares what the device has answered with what the hubs have: an accepted reading is delivered, and what
// is missing is named by a reading that is not.
func (d *diskTrial) wantNothingUnnamed(refused bool) {
	d.p.t.Helper()
	there, named := map[uint64]bool{}, map[uint64]bool{}
	var last uint64
	for _, m := range d.cloud.Ledger() {
		n := number(d.p.t, m.MessageID)
		there[n], last = true, max(last, n)
		for given := range strings.SplitSeq(m.Properties[outbox.MissingProperty], ",") {
			from, to, _ := strings.Cut(given, "-")
			first, err := strconv.ParseUint(from, 10, 64)
			end, bad := strconv.ParseUint(to, 10, 64)
			if bad != nil {
				end = first
			}
			for n := first; err == nil && n <= end; n++ {
				named[n] = true
			}
		}
	}
	for n := uint64(1); n <= last; n++ {
		if there[n] == named[n] {
			d.p.t.Errorf("%d is delivered: %t, and named as missing: %t", n, there[n], named[n])
		}
	}
	errors := 0
	for _, a := range answers(d.p.t, d.p) {
		switch {
		case a.Error != "":
			errors++
		case !there[number(d.p.t, a.ID)]:
			d.p.t.Errorf("%s was accepted, and is not delivered", a.ID)
		}
	}
	if errors != len(named) || (errors > 0) != refused {
		d.p.t.Errorf("%d readings were refused, and %d are named as missing", errors, len(named))
	}
}

func number(t *testing.T, id string) uint64 {
	t.Helper()
	_, digits, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(digits, 10, 64)
	must(t, err)
	return n
}

const (
	diskIsBad  = "readings cannot be written"
	diskIsWell = "readings can be written again"
)

func TestADeviceWhoseDiskFailsStaysConnectedSaysSoAndRecovers(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]func(*testing.T) *diskTrial{
		"full": func(t *testing.T) *diskTrial { return onASmallDisk(t) }, "read only": onADirectory,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := on(t)
			d.offer(20)
			waitReadings(t, d.cloud, "A", 20)
			d.hit()
			d.offer(2000) // some may find room
			d.p.await(diskIsBad)
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
			d.p.wantExit(5) // some are given up
			d.wantNothingUnnamed(true)
			if n := d.cloud.Connects("dev1", "A"); n != 1 {
				t.Errorf("it connected %d times", n)
			}
		})
	}
}

// With the policy block nothing is refused: who feeds the device waits for the disk.
func TestADeviceThatBlocksWaitsForItsDisk(t *testing.T) {
	t.Parallel()
	d := onASmallDisk(t, "FAILOVER_QUEUE_FULL=block")
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
}
