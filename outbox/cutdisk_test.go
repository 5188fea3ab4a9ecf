package outbox

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// A cutDisk is Files in memory that a power cut can hit. What has not been synced may then be there or
// not, sector by sector and name by name.
type cutDisk struct {
	mu      sync.Mutex
	names   map[string]*inode // as the process sees them
	safe    map[string]*inode // as they were at the last Sync
	changes []change          // since then
	stale   [][]byte          // what stands in sectors that no file has any more
	deaf    string            // the Sync that does nothing
	sites   map[string]int    // the Syncs that there were
	broken  int               // so many Syncs of a file will fail
	after   func()            // is called after each change, without the lock
}

// An inode is a file's content.
type inode struct {
	data []byte
	safe int   // bytes that were synced
	ends []int // sizes after each write since then
}

// A change is a name that was made, removed (to is "") or changed.
type change struct {
	from, to string
	node     *inode
}

const sector = 512

func newCutDisk() *cutDisk {
	return &cutDisk{names: map[string]*inode{}, safe: map[string]*inode{}, sites: map[string]int{}, after: func() {}}
}

// clone is the disk as it is at this moment.
func (d *cutDisk) clone() *cutDisk {
	copies := map[*inode]*inode{}
	node := func(n *inode) *inode {
		if n != nil && copies[n] == nil {
			copies[n] = &inode{n.data[:len(n.data):len(n.data)], n.safe, slices.Clone(n.ends)}
		}
		return copies[n]
	}
	c := newCutDisk()
	c.deaf, c.sites, c.stale = d.deaf, d.sites, slices.Clone(d.stale)
	for name, n := range d.names {
		c.names[name] = node(n)
	}
	for name, n := range d.safe {
		c.safe[name] = node(n)
	}
	for _, x := range d.changes {
		c.changes = append(c.changes, change{x.from, x.to, node(x.node)})
	}
	return c
}

// cut is what a power cut leaves of the disk.
func (d *cutDisk) cut(random *rand.Rand) *cutDisk {
	left := newCutDisk()
	left.deaf, left.sites, left.stale = d.deaf, d.sites, d.stale
	names := maps.Clone(d.safe)
	keep := some(random, len(d.changes))
	for i, x := range d.changes {
		if !keep(i) {
			continue
		}
		delete(names, x.from)
		if x.to != "" {
			names[x.to] = x.node
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		n := &inode{data: names[name].torn(random, d.stale)}
		n.safe = len(n.data)
		left.names[name], left.safe[name] = n, n
	}
	for name, n := range d.names {
		if names[name] != n && len(left.stale) < 8 {
			left.stale = append(left.stale, n.data)
		}
	}
	return left
}

// some chooses among n: none, all, the first ones or any.
func some(random *rand.Rand, n int) func(i int) bool {
	kind, limit := random.IntN(4), random.IntN(n+1)
	return func(i int) bool {
		switch kind {
		case 0:
			return false
		case 1:
			return true
		case 2:
			return i < limit
		}
		return random.IntN(2) == 0
	}
}

// torn is what may be left of a file: any sectors of those that were not synced, each as some write
// left it, and any size. A sector that was not written holds zeros, or what a file before it has left
// there.
func (n *inode) torn(random *rand.Rand, stale [][]byte) []byte {
	size := []int{n.safe, len(n.data), n.safe + random.IntN(len(n.data)-n.safe+1)}[random.IntN(3)]
	b := make([]byte, size)
	copy(b, n.data[:n.safe])
	old := random.IntN(4) == 0 && len(stale) > 0
	keep := some(random, (size-n.safe)/sector+2)
	for start, i := n.safe/sector*sector, 0; start < size; start, i = start+sector, i+1 {
		stop := min(start+sector, size)
		if keep(i) {
			if len(n.ends) > 0 && random.IntN(3) == 0 {
				stop = min(stop, n.ends[random.IntN(len(n.ends))])
			}
			if stop > start {
				copy(b[start:stop], n.data[start:stop])
			}
		} else if old && start >= n.safe {
			if s := stale[random.IntN(len(stale))]; len(s) > start {
				copy(b[start:stop], s[start:])
			}
		}
	}
	return b
}

// change makes a change of the process's.
func (d *cutDisk) change(how func() error) error {
	d.mu.Lock()
	err := how()
	d.mu.Unlock()
	d.after()
	return err
}

// hears reports whether a Sync does anything.
func (d *cutDisk) hears(what string) bool {
	where := "when a commit ends"
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case strings.HasSuffix(f.Function, ".(*committer).roll"):
			where = "before a segment begins"
		case strings.HasSuffix(f.Function, ".(*committer).writeQuarantined"):
			where = "when a reading is quarantined"
		case strings.HasSuffix(f.Function, "outbox.Open"):
			where = "when the log is opened"
		}
	}
	site := what + " " + where
	d.sites[site]++
	return d.deaf != site
}

func (d *cutDisk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names)), nil
}

func (d *cutDisk) Open(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return &cutFile{d, n}, nil
}

func (d *cutDisk) Create(name string) (f File, err error) {
	err = d.change(func() error {
		if d.names[name] != nil {
			return fs.ErrExist
		}
		n := &inode{}
		d.names[name] = n
		d.changes = append(d.changes, change{"", name, n})
		f = &cutFile{d, n}
		return nil
	})
	return f, err
}

func (d *cutDisk) Remove(name string) error { return d.Rename(name, "") }

func (d *cutDisk) Rename(from, to string) error {
	return d.change(func() error {
		n := d.names[from]
		if n == nil {
			return fs.ErrNotExist
		}
		delete(d.names, from)
		if to != "" {
			d.names[to] = n
		}
		d.changes = append(d.changes, change{from, to, n})
		return nil
	})
}

func (d *cutDisk) Sync() error {
	return d.change(func() error {
		if d.hears("directory") {
			d.safe, d.changes = maps.Clone(d.names), nil
		}
		return nil
	})
}

type cutFile struct {
	d *cutDisk
	n *inode
}

func (f *cutFile) Write(b []byte) (int, error) {
	return len(b), f.d.change(func() error {
		f.n.data = append(f.n.data, b...)
		f.n.ends = append(f.n.ends, len(f.n.data))
		return nil
	})
}

func (f *cutFile) ReadAt(b []byte, at int64) (n int, err error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if at < int64(len(f.n.data)) {
		n = copy(b, f.n.data[at:])
	}
	if n < len(b) {
		err = io.EOF
	}
	return n, err
}

func (d *cutDisk) Verify(string, fs.FileInfo, int64) error { return nil }
func (d *cutDisk) Retake() (Files, error)                  { return d, nil }
func (d *cutDisk) Close() error                            { return nil }

func (f *cutFile) Info() (fs.FileInfo, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return fakeInfo{size: int64(len(f.n.data))}, nil
}

func (f *cutFile) Sync() error {
	return f.d.change(func() error {
		if f.d.broken > 0 {
			f.d.broken--
			return syscall.EIO
		}
		if f.d.hears("file") {
			f.n.safe, f.n.ends = len(f.n.data), nil
		}
		return nil
	})
}

func (f *cutFile) Close() error { return nil }

// readOnly is Files of a disk that refuses every write.
type readOnly struct{ Files }

type readOnlyFile struct{ File }

func (d readOnly) Create(string) (File, error)   { return nil, fs.ErrPermission }
func (d readOnly) Rename(string, string) error   { return fs.ErrPermission }
func (d readOnly) Remove(string) error           { return fs.ErrPermission }
func (d readOnly) Sync() error                   { return fs.ErrPermission }
func (f readOnlyFile) Write([]byte) (int, error) { return 0, fs.ErrPermission }
func (f readOnlyFile) Sync() error               { return fs.ErrPermission }

func (d readOnly) Open(name string) (File, error) {
	f, err := d.Files.Open(name)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f}, nil
}
