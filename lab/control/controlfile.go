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

// DefaultFile returns the default path of the control file.
func DefaultFile() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("control: %w", err)
	}
	return filepath.Join(dir, "failover", "emulator.json"), nil
}

// A controlFile is the content of the control file: all that a client needs.
type controlFile struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	CA    string `json:"ca"` // the certificate authority in PEM
}

// A RunningError means that the control file belongs to another running emulator.
type RunningError struct{ File, URL string }

func (e *RunningError) Error() string {
	return fmt.Sprintf("%s is the control file of the emulator that runs at %s", e.File, e.URL)
}

// WriteFile writes the control file: the address, the token and the certificate authority. Only its
// owner may read it. Close removes it. WriteFile replaces a file that a killed emulator has left. If
// the file belongs to a running emulator, the error is a *RunningError.
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
		return fmt.Errorf("control: control file: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.controlFile = path
	return nil
}

// writeControlFile writes the file. If several emulators start at once, only one of them succeeds.
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
		case errors.Is(err, fs.ErrNotExist): // the other emulator removed the file meanwhile
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

// readControlFile reads a control file. It does not follow symbolic links.
func readControlFile(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maximumBody {
		return nil, err
	}
	return os.ReadFile(path)
}

// removeStale removes a file, if its content still equals found.
func removeStale(path string, found []byte) error {
	aside := fmt.Sprint(path, ".old", rand.Uint32())
	if err := os.Rename(path, aside); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if text, err := readControlFile(aside); err != nil || !bytes.Equal(text, found) {
		_ = os.Link(aside, path) // another emulator has written the file meanwhile
	}
	return os.Remove(aside)
}

// RunningCA returns the certificate authority in a control file, in PEM, or nil if the emulator
// that wrote it does not run.
func RunningCA(path string) []byte {
	text, err := readControlFile(path)
	if err != nil || runningURL(text) == "" {
		return nil
	}
	var a controlFile
	_ = json.Unmarshal(text, &a) // cannot fail, because runningURL has checked the text
	return []byte(a.CA)
}

// pingTimeout is far longer than an emulator needs to answer. An emulator that does not answer in
// time may be suspended, so it counts as running.
const pingTimeout = 2 * time.Second

// runningURL returns the address in a control file, or "" if no emulator with the token of the file
// answers at that address.
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
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}
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

// removeFile removes the control file, unless another emulator has replaced it.
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
	var current controlFile
	if err != nil || json.Unmarshal(text, &current) != nil || current.Token != s.token {
		return err
	}
	return os.Remove(path)
}
