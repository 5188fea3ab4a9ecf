package control

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
)

// A StagedFile is a new version of a file, under a temporary name in the same directory. Readers of
// the file never see a part of it, and nothing is replaced before Commit.
type StagedFile struct{ path, temporary string }

// StageFile writes a new version of a file. Commit replaces a symbolic link instead of following it.
// StageFile returns an error if the path is not a regular file, such as a device, or a link to one.
func StageFile(path string, text []byte, mode fs.FileMode) (*StagedFile, error) {
	switch info, err := os.Stat(path); {
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file and is not replaced: name another file", path)
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

// Commit replaces the file.
func (d *StagedFile) Commit() error { return os.Rename(d.temporary, d.path) }

// CommitNew is like Commit, but does not replace an existing file. If the file exists, CommitNew
// returns fs.ErrExist and changes nothing.
func (d *StagedFile) CommitNew() error {
	err := os.Link(d.temporary, d.path)
	if err == nil {
		d.Discard()
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(d.path); err == nil { // the file system does not support hard links
		return fs.ErrExist
	}
	return d.Commit()
}

// Discard removes the temporary file. After Commit it does nothing.
func (d *StagedFile) Discard() { _ = os.Remove(d.temporary) }
