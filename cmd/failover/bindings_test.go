package main

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/spf13/pflag"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/sensor"
)

// notOffered are the fields of machine.Settings without a flag.
var notOffered = []string{
	"Identity.Key",                                            // from a file or the environment: see keySettings
	"Handlers.Desired", "Handlers.Method", "Handlers.Command", // the sample device's own
	"Timing.ClockFloor", "Link.Dial", "Link.Now", "Table", "Rand", // for programs and tests
	"Link.WriteTimeout", "Link.AnswerTimeout", // for programs
	"Link.RootCAs",         // from --ca-file
	"Observers", "NoDebug", // from --log-format and --log-level
}

// fields returns the paths of the fields of settings, with those of its groups.
func fields(prefix string, t reflect.Type) (paths []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type.Kind() == reflect.Struct && f.Type.PkgPath() != "time" {
			paths = append(paths, fields(prefix+f.Name+".", f.Type)...)
		} else {
			paths = append(paths, prefix+f.Name)
		}
	}
	return paths
}

func TestEachFieldOfSettingsHasAFlagOrIsNotOffered(t *testing.T) {
	cfg := newConfig()
	cfg.groups()
	paths := fields("", reflect.TypeFor[machine.Settings]())
	for _, path := range paths {
		_, isBound := cfg.flagOf[path]
		if isBound == slices.Contains(notOffered, path) {
			t.Errorf("%s: has a flag: %v, is in notOffered: %v", path, isBound, !isBound)
		}
	}
	for _, path := range notOffered {
		if !slices.Contains(paths, path) {
			t.Errorf("notOffered has %s, which is no field", path)
		}
	}
}

func TestFlagsShowTheDefaultsOfSettings(t *testing.T) {
	cfg := newConfig()
	flags := newFlags()
	for _, g := range cfg.groups() {
		flags.AddFlagSet(g.flags)
	}
	defaults := machine.Settings{}.WithDefaults()
	want := map[string]string{
		"drain-rate": fmt.Sprint(defaults.Delivery.DrainRate), "durability": "always", "model-id": sensor.ModelID,
	}
	for path, flag := range cfg.flagOf {
		if _, isKnown := want[flag]; isKnown || path == "Off" {
			continue
		}
		want[flag] = fmt.Sprint(at(reflect.ValueOf(defaults), path))
	}
	for _, k := range kinds {
		want[k.flag] = "false"
	}
	for name, value := range want {
		if f := flags.Lookup(name); f == nil || f.DefValue != value {
			t.Errorf("--%s shows %v, want the default %q", name, f, value)
		}
	}
}

func TestFlagSetsTheFieldsOfSettings(t *testing.T) {
	for _, c := range []struct {
		flag, value, path string
		want              any
	}{
		{"drain-rate", "0", "Delivery.Unpaced", true},
		{"drain-rate", "Inf", "Delivery.Unpaced", true},
		{"drain-rate", "Inf", "Delivery.DrainRate", 0.0},
		{"drain-rate", "2.5", "Delivery.DrainRate", 2.5},
		{"drain-rate", "2.5", "Delivery.Unpaced", false},
		{"durability", "memory", "Storage.InMemory", true},
		{"durability", "10s", "Storage.SyncEvery", "10s"},
		{"no-methods", "true", "Off", 8},
		{"window", "7", "Delivery.Window", 7},
		{"queue-full", "block", "Storage.Limits.Full", "block"},
	} {
		cfg := newConfig()
		var flag *pflag.Flag
		for _, g := range cfg.groups() {
			if f := g.flags.Lookup(c.flag); f != nil {
				flag = f
			}
		}
		if err := flag.Value.Set(c.value); err != nil {
			t.Fatal(err)
		}
		if got := at(reflect.ValueOf(cfg.device), c.path); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("--%s %s: %s is %v", c.flag, c.value, c.path, got)
		}
	}
}
