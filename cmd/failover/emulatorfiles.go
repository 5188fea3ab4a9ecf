//go:build !nolab

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"giantlizard.example/failover/lab/control"
	"giantlizard.example/failover/statefile"
)

// lockDataDir makes and locks the directory of --data. leave gives it back, and removes it if it was made for an emulator that did not
// start.
func lockDataDir(path string) (leave func(started bool), err error) {
	_, before := os.Stat(path)
	dir := statefile.NewDir(path, nil, nil)
	if err := dir.Acquire(); err != nil {
		return nil, err
	}
	return func(started bool) {
		dir.Close()
		if !started && errors.Is(before, fs.ErrNotExist) {
			_ = os.Remove(filepath.Join(path, "lock"))
			_ = os.Remove(path)
		}
	}, nil
}

// draftCA writes the CA file beside its place, unless it is the one of another emulator that runs: devices read it at each dial.
func (l emulatorOptions) draftCA(file string, text []byte) (*control.StagedFile, error) {
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
		old, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, other := range l.controlFiles() {
			if !bytes.Equal(old, text) && bytes.Equal(old, control.RunningCA(other)) {
				return nil, fmt.Errorf("%s is that of the emulator that runs and is announced in %s: give another file", file, other)
			}
		}
	}
	return control.StageFile(file, text, 0o644)
}

// controlFiles are those in which emulators on this machine are announced, as far as that is known.
func (l emulatorOptions) controlFiles() (all []string) {
	if usual, err := control.DefaultFile(); err == nil {
		all, _ = filepath.Glob(filepath.Join(filepath.Dir(usual), "emulator*.json"))
	}
	if l.controlFile != "" {
		all = append(all, l.controlFile)
	}
	return all
}
