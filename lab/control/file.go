package control

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"
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

// A RunningError means that a control file is the one of another emulator that runs.
type RunningError struct{ File, URL string }

func (e *RunningError) Error() string {
	return fmt.Sprintf("%s is the control file of the emulator that runs at %s", e.File, e.URL)
}

// Announce writes the address, the token and the certificate authority to a file that only its owner may read, until Close. It
// takes the place of the file that an emulator has left which was killed. The file of one that runs is a *RunningError.
func (d *Door) Announce(path string) error {
	if url := running(path); url != "" {
		return &RunningError{path, url}
	}
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

// pingTime is how long an emulator that runs may take to answer.
const pingTime = 2 * time.Second

// running is the address of the emulator that a file announces, or "" if none answers there to the file's token.
func running(path string) string {
	text, err := os.ReadFile(path)
	var a announcement
	if err != nil || json.Unmarshal(text, &a) != nil {
		return ""
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(a.CA))
	request, err := http.NewRequest("GET", a.URL+"/lizard/v1/faults", nil)
	if err != nil {
		return ""
	}
	request.Header.Set("Authorization", "Bearer "+a.Token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: pingTime}
	answer, err := client.Do(request)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return ""
	}
	return a.URL
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
