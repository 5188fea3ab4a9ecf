package control

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
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
type controlFile struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	CA    string `json:"ca"` // PEM
}

// A RunningError means that a control file is the one of another emulator that runs.
type RunningError struct{ File, URL string }

func (e *RunningError) Error() string {
	return fmt.Sprintf("%s is the control file of the emulator that runs at %s", e.File, e.URL)
}

// WriteFile writes the address, the token and the certificate authority to a file that only its owner may read, until Close. It
// takes the place of the file that an emulator has left which was killed. The file of one that runs is a *RunningError.
func (s *Server) WriteFile(path string) error {
	text, err := json.MarshalIndent(controlFile{s.url, s.token, string(s.cloud.CAPEM())}, "", "  ")
	if err == nil {
		err = writeControlFile(path, append(text, '\n'))
	}
	var running *RunningError
	if errors.As(err, &running) {
		return running
	}
	if err != nil {
		return fmt.Errorf("control: announce: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.controlFile = path
	return nil
}

// announce gives the place to one of several emulators that start at once.
func writeControlFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	draft, err := StageFile(path, text, 0o600)
	if err != nil {
		return err
	}
	defer draft.Discard()
	for {
		if err := draft.CommitNew(); !errors.Is(err, fs.ErrExist) {
			return err
		}
		found, err := readControlFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it has just been removed
			continue
		case err != nil:
			return err
		}
		if url := runningURL(found); url != "" {
			return &RunningError{path, url}
		}
		if err := removeStale(path, found); err != nil {
			return err
		}
	}
}

// readAnnouncement reads a control file. What a symbolic link leads to is not looked at.
func readControlFile(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maximumBody {
		return nil, err
	}
	return os.ReadFile(path)
}

// removeStale removes a file if it still holds what was found in it.
func removeStale(path string, found []byte) error {
	aside := fmt.Sprint(path, ".old", rand.Uint32())
	if err := os.Rename(path, aside); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if text, err := readControlFile(aside); err != nil || !bytes.Equal(text, found) {
		_ = os.Link(aside, path) // another emulator has put it there in this moment
	}
	return os.Remove(aside)
}

// RunningCA is the certificate of the authority of the emulator that has written a control file, or nil if that does not run.
func RunningCA(path string) []byte {
	text, err := readControlFile(path)
	if err != nil || runningURL(text) == "" {
		return nil
	}
	var a controlFile
	_ = json.Unmarshal(text, &a) // running has done so
	return []byte(a.CA)
}

// pingTime is far more than a door takes to answer. One that does not answer in time may be suspended, and counts as running.
const pingTimeout = 2 * time.Second

// running is the address of the emulator that is announced in a text, or "" if none answers there to the token.
func runningURL(text []byte) string {
	var a controlFile
	roots := x509.NewCertPool()
	if json.Unmarshal(text, &a) != nil || !roots.AppendCertsFromPEM([]byte(a.CA)) {
		return ""
	}
	request, err := http.NewRequest("GET", a.URL+"/lizard/v1/faults", nil)
	if err != nil {
		return ""
	}
	request.Header.Set("Authorization", "Bearer "+a.Token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: pingTimeout}).Do(request)
	var failure net.Error
	switch {
	case errors.As(err, &failure) && failure.Timeout():
		return a.URL
	case err != nil:
		return ""
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return ""
	}
	return a.URL
}

// withdraw removes the file, unless it is another emulator's by now.
func (s *Server) removeFile() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.controlFile
	s.controlFile = ""
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var announced controlFile
	if err != nil || json.Unmarshal(text, &announced) != nil || announced.Token != s.token {
		return err
	}
	return os.Remove(path)
}
