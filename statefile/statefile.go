// Package statefile keeps small files that outlive a restart. A file is replaced as a whole or not
// at all, checked when it is read, and set aside if it is damaged. Files are JSON, with a checksum
// at the end, and indented unless they are large.
package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
)

const (
	limit     = 1 << 20  // maximum bytes that Save writes, far more than any of these files needs
	readLimit = 16 << 20 // maximum bytes that Load reads, because a later version may write larger files
)

// unfinished precedes a random number in the name of a file that is being written.
const unfinished = ".new"

// seal is the end of each file. The checksum covers all bytes before the seal.
const seal = ",\n  \"checksum\": \"%08x\"\n}\n"

var sealLength = len(fmt.Sprintf(seal, 0))

// A File is one small file. The zero File keeps nothing: Load finds nothing, and Save does nothing.
type File struct {
	dir  *Dir
	name string
}

// At returns a file in a directory that no process owns, or the zero File if the path is "".
func At(path string) File {
	if path == "" {
		return File{}
	}
	dir := NewDir(filepath.Dir(path), nil, nil)
	dir.unlocked = true
	return File{dir, filepath.Base(path)}
}

// Kept reports whether the file outlives the process.
func (f File) Kept() bool { return f.dir != nil }

// Path returns the path of the file, or "" for the zero File.
func (f File) Path() string {
	if f.dir == nil {
		return ""
	}
	return filepath.Join(f.dir.path, f.name)
}

// Load reads the file into a value, and reports whether there is a file. It ignores members that the
// value does not have. If there is an error, the value may hold anything, and the program can go on
// without the file: the file is damaged and was set aside as path.damaged, or it cannot be read.
// The error is a *VersionError if the file needs a later version; Load leaves such a file as it is.
func (f File) Load(into any) (ok bool, err error) {
	if f.dir == nil {
		return false, nil
	}
	f.dir.files.Lock()
	defer f.dir.files.Unlock()
	text, info, err := read(f.Path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, errSpecial):
		return false, f.setAside("damaged", err)
	case err == nil:
		err = checkVersion(f.Path(), text)
	}
	if err != nil {
		return false, fmt.Errorf("statefile: read: %w", err)
	}
	if err := decode(text, into); err != nil {
		return false, f.setAside("damaged", err)
	}
	f.dir.contents[f.name] = content{text, info}
	return true, nil
}

// Peek reads the file into a value, and reports whether that was possible. It changes nothing.
func (f File) Peek(into any) bool {
	text, _, err := read(f.Path())
	return err == nil && decode(text, into) == nil
}

// errSpecial means that a path leads to a named pipe or a device, which may have no end.
var errSpecial = errors.New("it is not a regular file")

// read reads at most readLimit bytes of a file. It does not wait for the other end of a named pipe.
func read(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() { // a directory cannot be read, and is left alone
		err = errSpecial
	}
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, readLimit))
	return text, info, err
}

// decode reads a text into a value, and ignores members that the value does not have. If the value has
// none of the members, decode returns an error, because the text belongs to another file.
func decode(text []byte, into any) error {
	content, ok := unsealed(text)
	if !ok {
		return errors.New("its checksum does not match")
	}
	object := append(bytes.Clone(content), '}')
	d := json.NewDecoder(bytes.NewReader(object))
	d.DisallowUnknownFields()
	unknown := d.Decode(into)
	if unknown == nil {
		return nil
	}
	if err := json.Unmarshal(object, into); err != nil {
		return err
	}
	if reflect.ValueOf(into).Elem().IsZero() {
		return unknown
	}
	return nil
}

// unsealed returns the bytes before the seal, and reports whether the checksum matches them.
func unsealed(text []byte) (content []byte, ok bool) {
	content = text[:max(0, len(text)-sealLength)]
	return content, bytes.Equal(text, sealed(content))
}

var errTooLarge = fmt.Errorf("the file would be larger than %d bytes", limit)

// encode returns the text of a file, indented unless it would then be too large. The value must be an object,
// because the seal is its last member.
func encode(v any) ([]byte, error) {
	var compact, indented bytes.Buffer
	encoder := json.NewEncoder(&compact)
	encoder.SetEscapeHTML(false) // because it needs more space
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	content, ok := bytes.CutSuffix(compact.Bytes(), []byte("}\n"))
	if !ok || len(content) == len("{") {
		return nil, fmt.Errorf("a %T is no object with members", v)
	}
	if err := json.Indent(&indented, compact.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	text := sealed(bytes.TrimSuffix(indented.Bytes(), []byte("\n}\n")))
	if len(text) > limit {
		text = sealed(content)
	}
	if len(text) > limit {
		return nil, errTooLarge
	}
	return text, nil
}

func sealed(content []byte) []byte {
	return fmt.Appendf(bytes.Clone(content), seal, crc32.ChecksumIEEE(content))
}

// SetAside renames the file to path.what, so that somebody can look into it. It returns an error that
// says that the file was renamed, or why it could not be renamed.
func (f File) SetAside(what string, why error) error {
	f.dir.files.Lock()
	defer f.dir.files.Unlock()
	return f.setAside(what, why)
}

func (f File) setAside(what string, why error) error {
	path := f.Path()
	delete(f.dir.contents, f.name)
	rename := func(root *os.Root) error { return root.Rename(f.name, f.name+"."+what) }
	if err := f.dir.withRoot(rename); err != nil {
		return fmt.Errorf("statefile: the file %s is %s (%w) and could not be renamed: %w", path, what, why, err)
	}
	return fmt.Errorf("statefile: the file %s is %s (%w); it was renamed to %s", path, what, why, path+"."+what)
}

// Save replaces the file by v, which must be an object of at most 1 MiB of JSON. A crash leaves
// either the old file or the new one. When Save returns nil, the new file outlives a power cut. Only
// the owner may read the file, and the directory if Save makes it. After an error, Dir.Repair tries
// again to write the file.
func (f File) Save(v any) error {
	if f.dir == nil {
		return nil
	}
	text, err := encode(v)
	if err == nil {
		f.dir.files.Lock()
		err = f.dir.write(f.name, text)
		f.dir.files.Unlock()
	}
	if err != nil {
		return fmt.Errorf("statefile: write: %w", err)
	}
	return nil
}

// Remove removes the file, if there is one.
func (f File) Remove() error {
	if f.dir == nil {
		return nil
	}
	f.dir.files.Lock()
	defer f.dir.files.Unlock()
	delete(f.dir.contents, f.name)
	if _, err := os.Lstat(f.Path()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := f.dir.withRoot(func(root *os.Root) error { return root.Remove(f.name) })
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// replace writes a new file and renames it to name. The info identifies the new file.
func (sync Fsync) replace(root *os.Root, name string, text []byte) (info fs.FileInfo, err error) {
	fresh := fmt.Sprint(name, unfinished, rand.Uint32())
	f, err := root.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, sync(f)); err == nil {
		info, err = f.Stat()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(fresh, name)
	}
	if err != nil {
		_ = root.Remove(fresh)
		return nil, err
	}
	return info, sync.names(root.Open("."))
}
