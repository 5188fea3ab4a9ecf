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

// A controlFile is the content of the emulator's control file.
type controlFile struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	CA    string `json:"ca"` // the certificate authority in PEM
}

// DefaultFile returns the default path of the emulator's control file.
func DefaultFile() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("central: control file: %w", err)
	}
	return filepath.Join(dir, "failover", "emulator.json"), nil
}

// Emulator returns a Client of the emulator that wrote a control file.
func Emulator(file string) (*Client, error) {
	control, err := readControlFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("central: no emulator runs on this machine (there is no %s): "+
			"start one with failover emulator", file)
	}
	switch {
	case errors.Is(err, errDamaged):
		return nil, damagedError(file)
	case err != nil:
		return nil, fmt.Errorf("central: control file: %w; give the file that failover emulator has written", err)
	}
	roots := x509.NewCertPool()
	ok := roots.AppendCertsFromPEM([]byte(control.CA))
	// The nil means no proxy, because the emulator runs on this machine.
	c, err := newClient(Config{URL: control.URL, Token: control.Token, Roots: roots}, nil)
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

// damagedError returns an error without a quotation of the file, because the file contains the token.
func damagedError(file string) error {
	return fmt.Errorf("central: control file: %s is damaged: restart the emulator, with failover emulator", file)
}
