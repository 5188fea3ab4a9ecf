//go:build !nolab

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"giantlizard.example/failover/lab/control"
	"giantlizard.example/failover/lab/emulator"
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

// An authorityFiles is the certificate authority in both forms, each under a temporary name.
type authorityFiles []*control.StagedFile

// trustStoreFile returns the name of the PKCS#12 file beside a PEM file.
func trustStoreFile(caFile string) string {
	return strings.TrimSuffix(caFile, ".pem") + ".p12"
}

// stageAuthority writes the CA file and the PKCS#12 file under temporary names. It refuses to replace the CA
// file of another running emulator, because devices read that file at each dial.
func (o emulatorOptions) stageAuthority(cloud *emulator.Cloud) (files authorityFiles, err error) {
	if err := o.checkCAFileIsFree(cloud.CAPEM()); err != nil {
		return nil, err
	}
	trustStore, err := cloud.TrustStore()
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{o.caFile, cloud.CAPEM()}, {trustStoreFile(o.caFile), trustStore}} {
		staged, err := control.StageFile(f.name, f.text, 0o644)
		if err != nil {
			files.discard()
			return nil, err
		}
		files = append(files, staged)
	}
	return files, nil
}

// commit replaces both files.
func (a authorityFiles) commit() error {
	var errs []error
	for _, f := range a {
		errs = append(errs, f.Commit())
	}
	return errors.Join(errs...)
}

// discard removes the temporary files. After commit it does nothing.
func (a authorityFiles) discard() {
	for _, f := range a {
		f.Discard()
	}
}

func (o emulatorOptions) checkCAFileIsFree(text []byte) error {
	info, err := os.Stat(o.caFile)
	if err != nil || !info.Mode().IsRegular() {
		return nil // there is nothing to lose, and StageFile reports a path that is not a file
	}
	old, err := os.ReadFile(o.caFile)
	if err != nil {
		return err
	}
	for _, other := range o.controlFiles() {
		if !bytes.Equal(old, text) && bytes.Equal(old, control.RunningCA(other)) {
			return fmt.Errorf("%s belongs to the running emulator of control file %s: give another file", o.caFile,
				other)
		}
	}
	return nil
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
