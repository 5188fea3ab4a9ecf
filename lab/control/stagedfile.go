package control

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
)

// A StagedFile is a file that is written beside its place, so that nobody reads half of it, and nothing is replaced before Place.
type StagedFile struct{ path, temporary string }

// StageFile writes one. Place replaces a symbolic link and does not follow it. What is no file, such as a device, is not replaced, and a
// link to one is not either.
func StageFile(path string, text []byte, mode fs.FileMode) (*StagedFile, error) {
	switch info, err := os.Stat(path); {
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file, and is not replaced: name another one", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	d := &StagedFile{path, fmt.Sprint(path, ".new", rand.Uint32())}
	f, err := os.OpenFile(d.temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		d.Discard()
		return nil, err
	}
	return d, nil
}

// Commit replaces what is in the place.
func (d *StagedFile) Commit() error { return os.Rename(d.temporary, d.path) }

// CommitNew is Place for a place that is empty; else the error is fs.ErrExist, and nothing has changed.
func (d *StagedFile) CommitNew() error {
	err := os.Link(d.temporary, d.path)
	if err == nil {
		d.Discard()
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, there := os.Lstat(d.path); there == nil { // this file system has no hard links
		return fs.ErrExist
	}
	return d.Commit()
}

// Discard removes the draft. After Place there is none, and nothing happens.
func (d *StagedFile) Discard() { _ = os.Remove(d.temporary) }
