package outbox

import (
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A fakeDisk is a directory in memory, whose operations a test counts and lets fail.
type fakeDisk struct {
	mu    sync.Mutex
	files map[string]*fakeFile
	calls map[string]int
	wrote int // bytes
	// fault returns the error of an operation; nil means no faults. The operations are list, create, open,
	// rename, remove, sync directory, write, read and sync.
	fault func(op, name string, size int) error
}

type fakeFile struct {
	disk *fakeDisk
	name string
	data []byte
}

func newDisk() *fakeDisk { return &fakeDisk{files: map[string]*fakeFile{}, calls: map[string]int{}} }

// breaks lets the operations that op names fail from now on; nil ends it.
func (d *fakeDisk) breaks(err error, ops ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = nil
	if err != nil {
		d.fault = func(op, _ string, _ int) error {
			if slices.Contains(ops, op) {
				return err
			}
			return nil
		}
	}
}

func (d *fakeDisk) fails(fault func(op, name string, size int) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// count is how many operations of a kind there were.
func (d *fakeDisk) count(op string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[op]
}

// asked is how many operations there were, of all kinds but Verify, which reads no disk.
func (d *fakeDisk) asked() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for op, count := range d.calls {
		if op != "verify" {
			n += count
		}
	}
	return n
}

func (d *fakeDisk) names(suffix string) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	return names
}

// used is how many bytes the files have.
func (d *fakeDisk) used() (n int) {
	for _, f := range d.files {
		n += len(f.data)
	}
	return n
}

func (d *fakeDisk) do(op, name string, size int, how func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[op]++
	if d.fault != nil {
		if err := d.fault(op, name, size); err != nil {
			return err
		}
	}
	return how()
}

func (d *fakeDisk) List() (names []string, err error) {
	err = d.do("list", "", 0, func() error {
		names = slices.Collect(maps.Keys(d.files))
		return nil
	})
	return names, err
}

func (d *fakeDisk) Create(name string) (f File, err error) {
	err = d.do("create", name, 0, func() error {
		if d.files[name] != nil {
			return fs.ErrExist
		}
		d.files[name] = &fakeFile{disk: d, name: name}
		f = d.files[name]
		return nil
	})
	return f, err
}

func (d *fakeDisk) Open(name string) (f File, err error) {
	err = d.do("open", name, 0, func() error {
		if d.files[name] == nil {
			return fs.ErrNotExist
		}
		f = d.files[name]
		return nil
	})
	return f, err
}

func (d *fakeDisk) Rename(from, to string) error {
	return d.do("rename", from, 0, func() error {
		if d.files[from] == nil {
			return fs.ErrNotExist
		}
		d.files[to] = d.files[from]
		delete(d.files, from)
		return nil
	})
}

func (d *fakeDisk) Remove(name string) error {
	return d.do("remove", name, 0, func() error {
		if d.files[name] == nil {
			return fs.ErrNotExist
		}
		delete(d.files, name)
		return nil
	})
}

func (d *fakeDisk) Sync() error { return d.do("sync directory", "", 0, func() error { return nil }) }

func (f *fakeFile) Write(b []byte) (n int, err error) {
	err = f.disk.do("write", f.name, len(b), func() error {
		f.data = append(f.data, b...)
		f.disk.wrote += len(b)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *fakeFile) ReadAt(b []byte, at int64) (n int, err error) {
	err = f.disk.do("read", f.name, len(b), func() error {
		if at > int64(len(f.data)) {
			return io.EOF
		}
		if n = copy(b, f.data[at:]); n < len(b) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

// Verify fails with the fault of the operation "verify"; else the files are those that the log knows.
func (d *fakeDisk) Verify(name string, _ fs.FileInfo, size int64) error {
	return d.do("verify", name, int(size), func() error { return nil })
}

func (d *fakeDisk) Retake() (Files, error) {
	return d, d.do("retake", "", 0, func() error { return nil })
}

func (d *fakeDisk) Close() error { return nil }

// A fakeInfo is what a fake file tells of itself.
type fakeInfo struct {
	fs.FileInfo
	size int64
}

func (i fakeInfo) Size() int64 { return i.size }

func (f *fakeFile) Info() (info fs.FileInfo, err error) {
	err = f.disk.do("size", f.name, 0, func() error {
		info = fakeInfo{size: int64(len(f.data))}
		return nil
	})
	return info, err
}

func (f *fakeFile) Sync() error  { return f.disk.do("sync", f.name, 0, func() error { return nil }) }
func (f *fakeFile) Close() error { return nil }

// A process is a view of a disk that ends when the process is killed: what it does later has no effect.
type process struct {
	*fakeDisk
	mu     sync.Mutex
	killed bool
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
}

func (p *process) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

func (p *process) Create(name string) (File, error) {
	if p.dead() {
		return nil, fs.ErrClosed
	}
	f, err := p.fakeDisk.Create(name)
	if err != nil {
		return nil, err
	}
	return processFile{f, p}, nil
}

func (p *process) Remove(name string) error {
	if p.dead() {
		return fs.ErrClosed
	}
	return p.fakeDisk.Remove(name)
}

func (p *process) Rename(from, to string) error {
	if p.dead() {
		return fs.ErrClosed
	}
	return p.fakeDisk.Rename(from, to)
}

type processFile struct {
	File
	p *process
}

func (f processFile) Write(b []byte) (int, error) {
	if f.p.dead() {
		return 0, fs.ErrClosed
	}
	return f.File.Write(b)
}
