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

// isWholeAddress reports whether the suffix is the full address of an application.
func (a *centralFlags) isWholeAddress() bool { return strings.Contains(a.suffix, "://") }

// client returns a client for the application that the flags name, or else for the emulator on this
// machine. The emulator's token is sent to the emulator only, and an application's token to that
// application only.
func (a *centralFlags) client() (*central.Client, error) {
	cfg, err := readEnvironment()
	if err != nil {
		return nil, err
	}
	if a.appID == "" && !a.isWholeAddress() {
		c, err := cfg.emulator()
		if err != nil {
			return nil, fmt.Errorf("%w, or name an application with --app-id", err)
		}
		return c, nil
	}
	address, err := central.Address(a.appID, a.suffix)
	if err != nil {
		return nil, usage(errorWithoutKeys(err))
	}
	emulator, noEmulator := cfg.emulator()
	if noEmulator == nil && normalized(emulator.URL()) == normalized(address) {
		return emulator, nil
	}
	config := central.Config{URL: address}
	config.Token, err = a.findToken(cfg)
	if errors.Is(err, errNoToken) && onThisMachine(address) {
		err = notAnnouncedError(address, emulator, noEmulator)
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

// normalized returns an address in the form in which addresses are compared.
func normalized(address string) string {
	return strings.Replace(strings.ToLower(address), "//localhost:", "//127.0.0.1:", 1)
}

// notAnnouncedError returns the error for an address on this machine that no control file names, so
// that there is no token for it.
func notAnnouncedError(address string, emulator *central.Client, noEmulator error) error {
	if noEmulator != nil {
		return fmt.Errorf("no control file names %s: %w", address, noEmulator)
	}
	return fmt.Errorf("the control file names %s, not %s: leave --app-id out, "+
		"or name the control file of the other emulator with FAILOVER_CONTROL_FILE", emulator.URL(), address)
}

// readEnvironment reads the settings from the environment and the env file, for a command that has no
// flags for these settings.
func readEnvironment() (*config, error) {
	cfg := newConfig()
	if err := cfg.read(newFlags()); err != nil {
		return nil, usage(err)
	}
	cfg.printWarnings()
	return cfg, nil
}

// find returns the value of a variable from the first source that has a value, or "".
func (cfg *config) find(variable string) string {
	for _, from := range cfg.sources {
		if _, value := from.find(variable); value != "" {
			return value
		}
	}
	return ""
}

// emulator returns a client for the emulator on this machine.
func (cfg *config) emulator() (*central.Client, error) {
	file := cfg.find("FAILOVER_CONTROL_FILE")
	if file == "" {
		var err error
		if file, err = central.DefaultFile(); err != nil {
			return nil, fmt.Errorf("%w; name the emulator's control file with FAILOVER_CONTROL_FILE", err)
		}
	}
	return central.Emulator(file)
}

const tokenLimit = 64 << 10 // largest size of a token file in bytes; a token has about 1 or 2 KiB

// findToken returns the token from the file of --token-file, or else from the environment.
func (a *centralFlags) findToken(cfg *config) (string, error) {
	if a.tokenFile != "" {
		cfg.warnIfReadableByOthers("token-file", a.tokenFile)
		cfg.printWarnings()
		text, err := textfile.Read(a.tokenFile, tokenLimit)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", hideToken(a.tokenFile, err))
		}
		return string(text), nil
	}
	if token := cfg.find("FAILOVER_CENTRAL_TOKEN"); token != "" {
		return token, nil
	}
	return "", errNoToken
}

var errNoToken = errors.New("FAILOVER_CENTRAL_TOKEN (or --token-file) is missing: " +
	"create an API token in IoT Central, Permissions, API tokens")

// hideToken returns an error about a file, without its name if the name may be the token itself.
func hideToken(name string, err error) error {
	if withoutKeys(name) != name && !hasExistingParent(name) {
		return errors.New("it seems to be a token: give the name of the file that contains it")
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

// onThisMachine reports whether an address is on this machine, so that it is the address of an
// emulator. Azure's DPS does not know the devices of an emulator.
func onThisMachine(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || ip != nil && ip.IsLoopback()
}
