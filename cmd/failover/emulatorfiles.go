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

// lockDataDir creates and locks the directory of --data. leave unlocks the directory. If the emulator
// did not start and the directory is new, leave removes the directory.
func lockDataDir(path string) (leave func(started bool), err error) {
	_, missing := os.Stat(path)
	dir := statefile.NewDir(path, nil, nil)
	if err := dir.Acquire(); err != nil {
		return nil, err
	}
	return func(started bool) {
		dir.Close()
		if !started && errors.Is(missing, fs.ErrNotExist) {
			_ = os.Remove(filepath.Join(path, "lock"))
			_ = os.Remove(path)
		}
	}, nil
}

// stageCA writes the CA file under a temporary name. It refuses to replace the CA file of another
// running emulator, because devices read that file at each dial.
func (o emulatorOptions) stageCA(file string, text []byte) (*control.StagedFile, error) {
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
		old, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, other := range o.controlFiles() {
			if !bytes.Equal(old, text) && bytes.Equal(old, control.RunningCA(other)) {
				return nil, fmt.Errorf("%s belongs to the running emulator of control file %s: give another file",
					file, other)
			}
		}
	}
	return control.StageFile(file, text, 0o644)
}

// controlFiles returns the known control files of emulators on this machine.
func (o emulatorOptions) controlFiles() (all []string) {
	if file, err := control.DefaultFile(); err == nil {
		all, _ = filepath.Glob(filepath.Join(filepath.Dir(file), "emulator*.json"))
	}
	if o.controlFile != "" {
		all = append(all, o.controlFile)
	}
	return all
}
