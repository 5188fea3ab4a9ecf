package central

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"giantlizard.example/failover/textfile"
)

// A control is what the emulator writes down for whoever wants to talk to it.
type controlFile struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	CA    string `json:"ca"` // PEM
}

// DefaultFile is where the emulator writes it, unless it is told otherwise.
func DefaultFile() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("central: control file: %w", err)
	}
	return filepath.Join(dir, "failover", "emulator.json"), nil
}

// Emulator is a Client of the emulator that wrote a control file.
func Emulator(file string) (*Client, error) {
	control, err := readControlFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("central: no emulator runs on this machine (there is no %s): start one with failover emulator", file)
	}
	switch {
	case errors.Is(err, errDamaged):
		return nil, damagedError(file)
	case err != nil:
		return nil, fmt.Errorf("central: control file: %w; name the one that failover emulator has written", err)
	}
	roots := x509.NewCertPool()
	ok := roots.AppendCertsFromPEM([]byte(control.CA))
	c, err := newClient(Config{URL: control.URL, Token: control.Token, Roots: roots}, nil) // no proxy leads to this machine
	if err != nil || !ok {
		return nil, damagedError(file)
	}
	c.emulator = file
	return c, nil
}

func readControlFile(file string) (c controlFile, err error) {
	text, err := textfile.Read(file, headerLimit)
	if err != nil {
		return c, err
	}
	if json.Unmarshal(text, &c) != nil {
		return c, errDamaged
	}
	return c, nil
}

var errDamaged = errors.New("damaged")

// damaged quotes nothing: there is a token in the file.
func damagedError(file string) error {
	return fmt.Errorf("central: control file: %s is damaged: start the emulator anew, with failover emulator", file)
}
