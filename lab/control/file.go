package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// DefaultFile is where a door is announced, unless the user wants it elsewhere.
func DefaultFile() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("control: %w", err)
	}
	return filepath.Join(dir, "failover", "emulator.json"), nil
}

// An announcement is all that a client needs to come in.
type announcement struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	CA    string `json:"ca"` // PEM
}

// Announce writes the address, the token and the certificate authority to a file that only its owner may read, until Close. It
// takes the place of another emulator's file.
func (d *Door) Announce(path string) error {
	text, err := json.MarshalIndent(announcement{d.url, d.token, string(d.cloud.CAPEM())}, "", "  ")
	if err == nil {
		err = write(path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("control: announce: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.file = path
	return nil
}

// write goes through a file beside it, which os.CreateTemp makes with mode 0600, so that nobody reads half of it.
func write(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// withdraw removes the file, unless it is another emulator's by now.
func (d *Door) withdraw() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := d.file
	d.file = ""
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var announced announcement
	if err != nil || json.Unmarshal(text, &announced) != nil || announced.Token != d.token {
		return err
	}
	return os.Remove(path)
}
