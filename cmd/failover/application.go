//go:build !nolab

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"giantlizard.example/failover/lab/central"
	"giantlizard.example/failover/textfile"
	"giantlizard.example/failover/transport"
)

// isWholeAddress tells whether the suffix is an address by itself.
func (a *centralFlags) isWholeAddress() bool { return strings.Contains(a.suffix, "://") }

// client is one of the application that the flags name, or of the emulator. An emulator's token goes to that emulator alone,
// and an application's to that application.
func (a *centralFlags) client() (*central.Client, error) {
	s, err := readEnvironment()
	if err != nil {
		return nil, err
	}
	if a.appID == "" && !a.isWholeAddress() {
		c, err := s.emulator()
		if err != nil {
			return nil, fmt.Errorf("%w, or name an application with --app-id", err)
		}
		return c, nil
	}
	address, err := central.Address(a.appID, a.suffix)
	if err != nil {
		return nil, usage(errorWithoutKeys(err))
	}
	emulator, none := s.emulator()
	if none == nil && plain(emulator.URL()) == plain(address) {
		return emulator, nil
	}
	config := central.Config{URL: address}
	config.Token, err = a.findToken(s)
	if errors.Is(err, errNoToken) && onThisMachine(address) {
		err = notAnnouncedError(address, emulator, none)
	}
	if err != nil {
		return nil, usage(err)
	}
	if config.Roots, err = a.roots(); err != nil {
		return nil, usage(err)
	}
	if !onThisMachine(address) {
		config.DPS = central.GlobalDPS
	}
	c, err := central.New(config)
	if err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// plain is how addresses are compared.
func plain(address string) string {
	return strings.Replace(strings.ToLower(address), "//localhost:", "//127.0.0.1:", 1)
}

// notAnnouncedError says why the token of no emulator on this machine is taken.
func notAnnouncedError(address string, emulator *central.Client, none error) error {
	if none != nil {
		return fmt.Errorf("nothing announces %s: %w", address, none)
	}
	return fmt.Errorf("the emulator that is announced on this machine is %s, and not %s: leave --app-id out, or name the other's control file with FAILOVER_CONTROL_FILE",
		emulator.URL(), address)
}

// readEnvironment are the environment and the env file.
func readEnvironment() (*settings, error) {
	s := &settings{envFile: ".env"}
	if err := s.read(newFlags()); err != nil {
		return nil, usage(err)
	}
	s.printWarnings()
	return s, nil
}

// find looks in all the sources.
func (s *settings) find(variable string) string {
	for _, from := range s.sources {
		if _, value := from.find(variable); value != "" {
			return value
		}
	}
	return ""
}

// emulator is a client of the emulator on this machine.
func (s *settings) emulator() (*central.Client, error) {
	file := s.find("FAILOVER_CONTROL_FILE")
	if file == "" {
		var err error
		if file, err = central.DefaultFile(); err != nil {
			return nil, fmt.Errorf("%w; name the emulator's control file with FAILOVER_CONTROL_FILE", err)
		}
	}
	return central.Emulator(file)
}

// tokenLimit is far more than a token takes.
const tokenLimit = 64 << 10

func (a *centralFlags) findToken(s *settings) (string, error) {
	if a.tokenFile != "" {
		s.warnIfReadableByOthers("token-file", a.tokenFile)
		s.printWarnings()
		text, err := textfile.Read(a.tokenFile, tokenLimit)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", hideToken(a.tokenFile, err))
		}
		return string(text), nil
	}
	if token := s.find("FAILOVER_CENTRAL_TOKEN"); token != "" {
		return token, nil
	}
	return "", errNoToken
}

var errNoToken = errors.New("FAILOVER_CENTRAL_TOKEN (or --token-file) is missing: make an API token in IoT Central, Permissions, API tokens")

// hideToken is an error about a file whose name may be the token itself.
func hideToken(name string, err error) error {
	if withoutKeys(name) != name && !hasExistingParent(name) {
		return errors.New("it holds a token, it seems; it is the name of a file")
	}
	return err
}

func (a *centralFlags) roots() (*x509.CertPool, error) {
	if a.caFile == "" {
		return nil, nil
	}
	roots, err := transport.RootsFromFile(a.caFile)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", hideToken(a.caFile, err))
	}
	return roots, nil
}

// onThisMachine tells whether an address is an emulator's, of whose devices the world's DPS knows nothing.
func onThisMachine(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || ip != nil && ip.IsLoopback()
}
