package main_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/outbox"
)

// A diskTrial is a device whose state directory is on a disk that can be made to fail.
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

// inItsOwn returns the attributes that give a process its own user namespace, in which its user ID
// is uid.
func inItsOwn(uid int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getgid(), Size: 1}},
	}
}

// onASmallDisk starts a device on a file system of half a MiB. Only the device sees it, and whoever
// goes through its /proc.
func onASmallDisk(t *testing.T, env ...string) *diskTrial {
	t.Helper()
	mount := t.TempDir()
	if out, err := exec.Command("unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none",
		mount).CombinedOutput(); err != nil {
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

// underALimit starts a device whose files can be kept from growing. That is like a full disk, but
// needs no file system of its own.
func underALimit(t *testing.T, env ...string) *diskTrial {
	t.Helper()
	return limited(t, syscall.RLIMIT_FSIZE, env...)
}

// withoutFiles starts a device that can be kept from opening more files. Its open files stay open,
// so only large readings, which need a new file, show the effect.
func withoutFiles(t *testing.T) *diskTrial {
	t.Helper()
	d := limited(t, syscall.RLIMIT_NOFILE)
	d.pad = strings.Repeat(" ", 4096)
	return d
}

func limited(t *testing.T, resource uintptr, env ...string) *diskTrial {
	t.Helper()
	d := newDiskTrial(t, filepath.Join(t.TempDir(), "state"), "", nil, env...)
	limit, end := limiting(d.p, resource)
	d.hit = func() { limit(0) }
	d.mend = end
	return d
}

// limiting returns functions that set and remove a limit of a running process.
func limiting(p *process, resource uintptr) (limit func(uint64), end func()) {
	var ours syscall.Rlimit // which it has from us
	must(p.t, syscall.Getrlimit(int(resource), &ours))
	limit = func(size uint64) {
		p.t.Helper()
		to := syscall.Rlimit{Cur: size, Max: ours.Max}
		_, _, err := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.cmd.Process.Pid), resource,
			uintptr(unsafe.Pointer(&to)), 0, 0, 0)
		if err != 0 {
			p.t.Fatal(err)
		}
	}
	return limit, func() { limit(ours.Cur) }
}

// onADirectory starts a device, not as root, with a directory that can be made read-only. Its open
// files stay writable, so only large readings, which need a new file, show the effect.
func onADirectory(t *testing.T) *diskTrial {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state")
	var attr *syscall.SysProcAttr
	if os.Getuid() == 0 {
		attr = inItsOwn(1000)
		as := exec.Command("true")
		as.SysProcAttr = attr
		if err := as.Run(); err != nil {
			t.Skip("root may write anywhere and cannot become another user here: ", err)
		}
	}
	d := newDiskTrial(t, state, "", attr)
	d.pad = strings.Repeat(" ", 4096)
	d.hit = func() { must(t, os.Chmod(state+"/outbox", 0o500)) }
	d.mend = func() { must(t, os.Chmod(state+"/outbox", 0o700)) }
	t.Cleanup(d.mend)
	return d
}

// offer sends readings to the device and waits until all are answered.
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

// wantNothingUnnamed compares the answers of the device with what the hubs received: each accepted
// reading is delivered or was dropped, and a delivered reading names the dropped ones.
func (d *diskTrial) wantNothingUnnamed(refused bool, givenUp ...uint64) {
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
		if a.Error != "" {
			errors++
		} else if n := number(d.p.t, a.ID); there[n] == slices.Contains(givenUp, n) {
			d.p.t.Errorf("%s was accepted, and is delivered: %t", a.ID, there[n])
		}
	}
	if errors+len(givenUp) != len(named) || (errors > 0) != refused {
		d.p.t.Errorf("%d readings were refused, %d dropped, and %d are named as missing", errors, len(givenUp),
			len(named))
	}
}

func number(t *testing.T, id string) uint64 {
	t.Helper()
	_, digits, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(digits, 10, 64)
	must(t, err)
	return n
}
