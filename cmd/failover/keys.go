package main

import (
	"errors"
	"fmt"
	"sync"

	"giantlizard.example/failover/textfile"
	"giantlizard.example/failover/transport"
)

const keyLimit = 4096 // largest size of a key file in bytes; a key has about 90

// keySettings are the settings that may hold a key. A key comes from the environment or from a
// file, never from the command line, which every user of the machine can read.
var keySettings = []struct {
	variable, flag string // without a flag, the variable holds the key; with a flag, both name a file
	group          bool   // the key belongs to an enrollment group; the device's key is derived from it
}{
	{"FAILOVER_GROUP_KEY", "", true},
	{"FAILOVER_GROUP_KEY_FILE", "group-key-file", true},
	{"FAILOVER_DEVICE_KEY", "", false},
	{"FAILOVER_DEVICE_KEY_FILE", "device-key-file", false},
}

// keySource finds the key in the first source that has a key. It reads the key once, so that an error
// is reported at the start.
func (cfg *config) keySource() (transport.KeySource, error) {
	for _, from := range cfg.sources {
		var found []transport.KeySource
		for _, k := range keySettings {
			name, value := from.find(k.variable)
			if value == "" {
				continue
			}
			read := func() (transport.Key, error) { return parseKey(name, value) }
			if k.flag != "" {
				read = keyFile(k.flag, value)
				cfg.warnIfReadableByOthers(k.flag, value)
			}
			found = append(found, cfg.derived(k.group, read))
		}
		if len(found) > 1 {
			return nil, errors.New("more than one key is given: keep one of FAILOVER_GROUP_KEY, " +
				"FAILOVER_GROUP_KEY_FILE, " +
				"FAILOVER_DEVICE_KEY (IOTHUB_DEVICE_DPS_DEVICE_KEY) and FAILOVER_DEVICE_KEY_FILE")
		}
		if len(found) == 1 {
			if _, err := found[0](); err != nil {
				return nil, fmt.Errorf("%w: %s", err, whereKey)
			}
			return found[0], nil
		}
	}
	return nil, fmt.Errorf("FAILOVER_GROUP_KEY (or FAILOVER_GROUP_KEY_FILE) is missing: %s; "+
		"for an individual enrollment set FAILOVER_DEVICE_KEY (or FAILOVER_DEVICE_KEY_FILE)", whereKey)
}

func (cfg *config) derived(group bool, source transport.KeySource) transport.KeySource {
	if !group {
		return source
	}
	return func() (transport.Key, error) {
		key, err := source()
		if err != nil {
			return transport.Key{}, err
		}
		return key.Derive(cfg.device.Identity.RegistrationID), nil
	}
}

func parseKey(name, text string) (transport.Key, error) {
	key, err := transport.ParseKey(text)
	if err != nil {
		return key, &transport.KeyError{Err: fmt.Errorf("%s: %w", name, err)}
	}
	return key, nil
}

// keyFile returns a source that reads a key from a file at each dial, or only once if the file is a
// pipe of the shell.
func keyFile(flag, file string) transport.KeySource {
	read := func() (transport.Key, error) { return readKey(flag, file) }
	if textfile.OnlyOnce(file) {
		return sync.OnceValues(read)
	}
	return read
}

func readKey(flag, file string) (transport.Key, error) {
	text, err := textfile.Read(file, keyLimit)
	if err != nil {
		return transport.Key{}, &transport.KeyError{Err: fileError(flag, file, err)}
	}
	return parseKey(settingName(flag)+": "+file, string(text))
}
