package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

// Where Azure shows what a device needs.
const (
	whereHost  = "it is " + defaultProvisioningHost + ", unless your Device Provisioning Service has an endpoint of its own"
	whereScope = "Azure portal, your Device Provisioning Service, Overview, ID Scope; in IoT Central: Permissions, Device connection groups"
	whereID    = "the registration ID; with an enrollment group you choose it, otherwise the individual enrollment shows it"
	whereKey   = "Azure portal, your Device Provisioning Service, Manage enrollments, the enrollment group or the individual enrollment, Primary key"
)

// device reads the settings and turns them into machine's, or says which of them are missing or wrong and where their
// values are found.
func (s *settings) device(flags *pflag.FlagSet) (d machine.Settings, err error) {
	if err = s.read(flags); err == nil {
		d, err = s.wire()
		err = errors.Join(errorWithoutKeys(errors.Join(s.checkIdentity(), s.checkWords())), s.checkNumbers(), s.checkTimes(), err)
	}
	if err != nil {
		if demoHint != "" {
			err = errors.Join(err, errors.New(demoHint))
		}
		return d, err
	}
	return d, nil
}

func (s *settings) wire() (machine.Settings, error) {
	d := machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: s.provisioningHost, IDScope: s.idScope, RegistrationID: s.deviceID,
			ModelID: s.modelID, ModelKey: s.modelKey,
		},
		Storage: machine.Storage{InMemory: s.durability.memory, SyncEvery: s.durability.every, Limits: s.queue},
		Delivery: machine.Delivery{
			Window: s.window, DrainRate: s.drainRate, Unpaced: s.drainRate == 0, InOrder: s.inOrder, AckTimeout: s.ackTimeout,
		},
		Handlers: machine.Handlers{Timeout: s.handlerTimeout},
		Timing:   machine.Timing{CloseTimeout: s.closeTimeout, TokenLife: s.tokenLife},
		Policy:   s.policy,
		Link:     s.link,
	}
	d.Storage.Limits.Full = outbox.Policy(s.queueFull)
	for i, k := range offFlags {
		if s.off[i] {
			d.Off |= k.kind
		}
	}
	var badKey, badCA, badState error
	d.Identity.Key, badKey = s.keySource()
	if s.caFile != "" {
		if s.authorities, badCA = openAuthorities(s.caFile); badCA == nil {
			d.Link.RootCAs = s.authorities.roots
		}
	}
	d.Storage.StateDir, badState = s.stateDirectory()
	return d, errors.Join(badKey, badCA, badState)
}

func (s *settings) checkIdentity() error {
	var errs []error
	wrong := func(flag, where, format string, values ...any) {
		errs = append(errs, fmt.Errorf("%s %s: %s", settingName(flag), fmt.Sprintf(format, values...), where))
	}
	if _, _, err := payloads.HostPort(s.provisioningHost, "8883"); err != nil {
		wrong("provisioning-host", whereHost, "is wrong: %v", err)
	}
	switch {
	case s.idScope == "":
		wrong("id-scope", whereScope, "is missing")
	case strings.ContainsAny(s.idScope, "/ \t\r\n"):
		wrong("id-scope", whereScope, "is %.100q, which is none", s.idScope)
	}
	if s.deviceID == "" {
		wrong("device-id", whereID, "is missing")
	} else if err := payloads.CheckRegistrationID(s.deviceID); err != nil {
		wrong("device-id", whereID, "is wrong: %v", err)
	}
	return errors.Join(errs...)
}

func (s *settings) checkWords() error {
	var errs []error
	for _, w := range []struct{ flag, value, words string }{
		{"model-key", s.modelKey, "modelId or iotcModelId"},
		{"log-format", s.logFormat, "console or json"},
		{"log-level", s.logLevel, "debug or info or warn"},
		{"queue-full", s.queueFull, "drop-oldest or drop-newest or block"},
	} {
		known := false
		for word := range strings.SplitSeq(w.words, " or ") {
			known = known || word == w.value
		}
		if !known {
			errs = append(errs, fmt.Errorf("%s is %q: it is %s", settingName(w.flag), w.value, w.words))
		}
	}
	return errors.Join(errs...)
}

const (
	maxWindow    = 10_000 // MQTT numbers what is on its way with 16 bits
	minDrainRate = 0.001  // slower would not be draining

	minQueueBytes = 512 << 10
)

func (s *settings) checkNumbers() error {
	var errs []error
	if s.window < 1 || s.window > maxWindow {
		errs = append(errs, fmt.Errorf("%s is %d: it is 1 to %d", settingName("window"), s.window, maxWindow))
	}
	if s.drainRate != 0 && !(s.drainRate >= minDrainRate) { // which NaN is not, either
		errs = append(errs, fmt.Errorf("%s is %g: it is readings a second, at least %g, or 0 for as fast as the hub takes them", settingName("drain-rate"), s.drainRate, minDrainRate))
	}
	if s.queue.Readings < 1 {
		errs = append(errs, fmt.Errorf("%s is %d: it is at least 1", settingName("queue-readings"), s.queue.Readings))
	}
	if s.queue.Bytes < minQueueBytes {
		errs = append(errs, fmt.Errorf("%s is %d: it is at least %d, which is one reading of the largest size", settingName("queue-bytes"), s.queue.Bytes, minQueueBytes))
	}
	return errors.Join(errs...)
}

const (
	minTokenLife = 10 * time.Second   // keeps a renewal, which needs a connection, clear of the next one
	maxKeepAlive = 1177 * time.Second // a hub waits for 1.5 times this: azure-docs iot/iot-mqtt-connect-to-iot-hub.md
)

func (s *settings) checkTimes() error {
	var errs []error
	wrong := func(flag string, value time.Duration, is string) {
		errs = append(errs, fmt.Errorf("%s is %s: it is %s", settingName(flag), value, is))
	}
	for _, t := range []struct {
		flag  string
		value time.Duration
	}{
		{"telemetry-interval", s.telemetryInterval}, {"property-interval", s.propertyInterval},
		{"connect-timeout", s.link.ConnectTimeout}, {"silence", s.link.Silence},
		{"hold", s.policy.Hold}, {"first-wait", s.policy.FirstWait}, {"last-wait", s.policy.LastWait},
		{"after-silence", s.policy.AfterSilence}, {"first-rest", s.policy.FirstRest}, {"last-rest", s.policy.LastRest},
		{"handler-timeout", s.handlerTimeout}, {"ack-timeout", s.ackTimeout}, {"close-timeout", s.closeTimeout},
	} {
		if t.value <= 0 {
			wrong(t.flag, t.value, "a time above 0, such as 5s")
		}
	}
	if s.queue.Age < 0 {
		wrong("queue-age", s.queue.Age, "a time such as 72h, or 0")
	}
	if s.policy.Spread < 0 {
		wrong("spread", s.policy.Spread, "a time such as 5m, or 0")
	}
	if s.tokenLife < minTokenLife {
		wrong("token-life", s.tokenLife, fmt.Sprintf("at least %s, or the device would do nothing but reconnect", minTokenLife))
	}
	if k := s.link.KeepAlive; k < time.Second || k > maxKeepAlive || k%time.Second != 0 {
		wrong("keep-alive", k, fmt.Sprintf("in whole seconds, from 1s to %s, which is all that an IoT hub allows", maxKeepAlive))
	} else if s.link.Silence > 0 && s.link.Silence <= k {
		wrong("silence", s.link.Silence, fmt.Sprintf("longer than %s, which is %s: only an unanswered ping tells that a link is dead; twice as long is good", variableOf("keep-alive"), k))
	}
	return errors.Join(errs...)
}

// stateDirectory is where the device keeps what must outlive a restart.
func (s *settings) stateDirectory() (string, error) {
	if s.stateDir != "" {
		return s.stateDir, nil
	}
	base, err := stateHome()
	if err != nil {
		return "", fmt.Errorf("%s is missing, and there is no place to put it in: %w", settingName("state-dir"), err)
	}
	return filepath.Join(base, "failover", strings.ReplaceAll(s.deviceID, ":", "%3A")), nil // Windows takes no colon
}

// stateHome is where programs of this user keep their state.
func stateHome() (string, error) {
	base, err := expandHome(os.Getenv("XDG_STATE_HOME"))
	switch {
	case err != nil:
		return "", fmt.Errorf("XDG_STATE_HOME: %w", err)
	case base != "":
		return base, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".local", "state"), err
}
