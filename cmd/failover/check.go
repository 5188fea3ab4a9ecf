package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/settings"
)

// hints holds advice for the end of an error about a flag. Most hints say where Azure shows the value.
var hints = map[string]string{
	"provisioning-host": "it is " + machine.Settings{}.WithDefaults().Identity.ProvisioningHost +
		", unless your Device Provisioning Service has an endpoint of its own",
	"id-scope": "Azure portal, your Device Provisioning Service, Overview, ID Scope; " +
		"in IoT Central: Permissions, Device connection groups",
	"device-id": "the registration ID; with an enrollment group you choose it, " +
		"otherwise the individual enrollment shows it",
	"drain-rate": "0 means as fast as the hub takes them",
}

// whereKey is the hint where Azure shows the key.
const whereKey = "Azure portal, your Device Provisioning Service, Manage enrollments, " +
	"the enrollment group or the individual enrollment, Primary key"

// readDevice reads all settings into cfg.device. The error names each setting that is missing or wrong.
func (cfg *config) readDevice(flags *pflag.FlagSet) error {
	err := cfg.read(flags)
	if err == nil {
		err = errors.Join(cfg.readFiles(), errorWithoutKeys(errors.Join(cfg.checkDevice(flags), cfg.checkOwn())))
	}
	if err != nil && demoHint != "" {
		err = errors.Join(err, errors.New(demoHint))
	}
	return err
}

// readFiles reads the key and the CA file, and finds the state directory.
func (cfg *config) readFiles() error {
	var badKey, badCA, badState error
	d := &cfg.device
	d.Identity.Key, badKey = cfg.keySource()
	if cfg.caFile != "" {
		if cfg.authorities, badCA = openAuthorities(cfg.caFile); badCA == nil {
			d.Link.RootCAs = cfg.authorities.roots
		}
	}
	if d.Storage.StateDir == "" {
		d.Storage.StateDir, badState = stateDirectory(d.Identity.RegistrationID)
	}
	return errors.Join(badKey, badCA, badState)
}

// checkDevice returns the errors of machine.Settings. It names flags and variables instead of fields.
func (cfg *config) checkDevice(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) { // for machine zero means the default, but a user who writes 0 wants 0
		if text := f.Value.String(); (text == "0" || text == "0s") && f.DefValue != text && f.Name != "drain-rate" {
			errs = append(errs,
				fmt.Errorf("%s is %s: it must be above 0, such as %s", settingName(f.Name), text, f.DefValue))
		}
	})
	for _, e := range settings.All(cfg.device.Check()) {
		// readFiles has returned an error with the reason
		if e.Field != "Identity.Key" && e.Field != "Storage.StateDir" {
			errs = append(errs, cfg.settingError(e))
		}
	}
	return errors.Join(errs...)
}

// fieldName matches a name such as KeepAlive.
var fieldName = regexp.MustCompile(`\b[A-Z][a-z]+[A-Z]\w+`)

// settingError returns an error of a field with the names of settings instead of the names of fields,
// also for other fields of the same group.
func (cfg *config) settingError(e *settings.FieldError) error {
	flag, isBound := cfg.flagOf[e.Field]
	if !isBound {
		return e
	}
	group := e.Field[:strings.LastIndex(e.Field, ".")+1]
	text := fieldName.ReplaceAllStringFunc(e.Err.Error(), func(name string) string {
		if other, isField := cfg.flagOf[group+name]; isField {
			return variableOf(other)
		}
		return name
	})
	if hint := hints[flag]; hint != "" {
		text += ": " + hint
	}
	return fmt.Errorf("%s %s", settingName(flag), text)
}

// checkOwn checks the settings of this program, which machine.Settings does not contain.
func (cfg *config) checkOwn() error {
	var errs []error
	for _, w := range []struct {
		flag, value string
		words       []string
	}{
		{"log-format", cfg.logFormat, []string{"console", "json"}},
		{"log-level", cfg.logLevel, []string{"debug", "info", "warn"}},
	} {
		if !slices.Contains(w.words, w.value) {
			allowed := strings.Join(w.words, " or ")
			errs = append(errs, fmt.Errorf("%s is %q: it must be %s", settingName(w.flag), w.value, allowed))
		}
	}
	if cfg.stdin && cfg.device.Off.Has(hub.Telemetry) {
		errs = append(errs, fmt.Errorf("%s sends readings, and %s disables them: use one of the two",
			settingName("stdin"), settingName("no-telemetry")))
	}
	errs = append(errs, settings.Duration(settingName("telemetry-interval"), cfg.telemetryInterval),
		settings.Duration(settingName("property-interval"), cfg.propertyInterval))
	return errors.Join(errs...)
}

// stateDirectory returns the default state directory of a device.
func stateDirectory(deviceID string) (string, error) {
	base, err := stateHome()
	if err != nil {
		return "", fmt.Errorf("%s is missing, and there is no default directory: %w", settingName("state-dir"), err)
	}
	// Windows allows no colon in a name.
	return filepath.Join(base, "failover", strings.ReplaceAll(deviceID, ":", "%3A")), nil
}

// stateHome returns the directory for the state of this user's programs.
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
