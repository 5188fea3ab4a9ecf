// Package statefile keeps small files that outlive a restart: replaced whole or not at all, checked when they are read, and
// set aside when they are damaged. They are JSON, with a checksum at their end.
package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
)

const (
	limit     = 1 << 20  // far more than any of these files takes
	readLimit = 16 << 20 // a later version may write larger files
)

// unfinished ends the name of a file that is being written.
const unfinished = ".new*"

// seal ends each file. The checksum is over every byte before it.
const seal = ",\n  \"checksum\": \"%08x\"\n}\n"

var sealLength = len(fmt.Sprintf(seal, 0))

// Load reads a file into a value; ok tells whether there is one. An error is a warning: the file is damaged and has been
// set aside as path.damaged, or it cannot be read; then into may hold anything. Load ignores members that it does not know. It
// leaves a file that needs a later version as it is; then the error is a *VersionError.
func Load(path string, into any) (ok bool, err error) {
	text, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("statefile: read: %w", err)
	}
	if err := checkVersion(path, text); err != nil {
		return false, fmt.Errorf("statefile: read: %w", err)
	}
	if err := decode(text, into); err != nil {
		return false, SetAside(path, "damaged", err)
	}
	return true, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, readLimit))
}

// decode ignores members that it does not know, unless it knows none of them: then it is another file under this name.
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

// unsealed is what the seal of a file is over; ok is false when the checksum does not match.
func unsealed(text []byte) (content []byte, ok bool) {
	content = text[:max(0, len(text)-sealLength)]
	return content, bytes.Equal(text, sealed(content))
}

// encode writes v as Load wants it: an object, for the seal is its last member.
func encode(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	content, ok := bytes.CutSuffix(text, []byte("\n}"))
	if !ok {
		return nil, fmt.Errorf("a %T is no object with members", v)
	}
	if text = sealed(content); len(text) > limit {
		return nil, fmt.Errorf("it would be larger than %d bytes", limit)
	}
	return text, nil
}

func sealed(content []byte) []byte {
	return fmt.Appendf(bytes.Clone(content), seal, crc32.ChecksumIEEE(content))
}

// SetAside keeps a file, as path.what, for whoever wants to know what happened to it, and gets it out of the way. The error
// that it returns says so.
func SetAside(path, what string, why error) error {
	aside := path + "." + what
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("statefile: %s is %s (%w) and could not be set aside: %w", path, what, why, err)
	}
	return fmt.Errorf("statefile: %s is %s (%w); it was set aside as %s", path, what, why, aside)
}

// Save writes v, an object, so that a crash leaves either the old file or the new one; when it returns nil, the new one is
// safe. Only the owner may read it, and the directory if Save has to make that.
func Save(path string, v any) error {
	text, err := encode(v)
	if err == nil {
		err = system.replace(path, text)
	}
	if err != nil {
		return fmt.Errorf("statefile: write: %w", err)
	}
	return nil
}

// replace goes through a temporary file in the same directory, which os.CreateTemp makes with mode 0600.
func (sync Fsync) replace(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := sync.MakeDir(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+unfinished)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.Write(text)
	err = errors.Join(err, sync(f), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return sync.Dir(dir)
}
