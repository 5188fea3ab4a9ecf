package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"giantlizard.example/failover/textfile"
)

// variablePrefix begins the name of each variable of this program.
const variablePrefix = "FAILOVER_"

// secretVariables hold a key or a token.
var secretVariables = []string{
	"FAILOVER_GROUP_KEY", "FAILOVER_DEVICE_KEY", "FAILOVER_CENTRAL_TOKEN", "IOTHUB_DEVICE_DPS_DEVICE_KEY",
}

// knownVariables returns the variables of all commands, because one env file serves them all.
func knownVariables() map[string]bool {
	known := map[string]bool{"FAILOVER_CONTROL_FILE": true, "FAILOVER_CENTRAL_TOKEN": true}
	for _, k := range keySettings {
		known[k.variable] = true
	}
	for _, g := range newConfig().groups() {
		g.flags.VisitAll(func(f *pflag.Flag) { known[variableOf(f.Name)] = true })
	}
	return known
}

// warnOfUnknownVariables warns about variables that look like settings but are not known, such as
// misspelt ones.
func (cfg *config) warnOfUnknownVariables(flags *pflag.FlagSet, file map[string]string) {
	known := knownVariables()
	flags.VisitAll(func(f *pflag.Flag) { known[variableOf(f.Name)] = true })
	environment := map[string]string{}
	for _, e := range os.Environ() {
		name, value, _ := strings.Cut(e, "=")
		if runtime.GOOS == "windows" { // names of variables are not case-sensitive on Windows
			name = strings.ToUpper(name)
		}
		environment[name] = value
	}
	var all []string
	for _, from := range []struct {
		where  string
		values map[string]string
	}{{"the environment", environment}, {cfg.envFileRead, file}} {
		var unknown []string
		for name, value := range from.values {
			if value != "" && strings.HasPrefix(strings.ToUpper(name), variablePrefix) && !known[name] {
				unknown = append(unknown, withoutKeys(name)+" in "+from.where+nearest(name, known))
			}
		}
		slices.Sort(unknown)
		all = append(all, unknown...)
	}
	if len(all) > 0 {
		cfg.warnings = append(cfg.warnings, errors.New("unknown settings are ignored: "+strings.Join(all, "; ")))
	}
}

// nearest suggests the known name that is most similar to a name.
func nearest(name string, known map[string]bool) string {
	name = strings.ToUpper(name)
	best, least := "", max(2, len(name)/4)+1
	for candidate := range known {
		if d := distance(name, candidate); d < least || d == least && candidate < best {
			best, least = candidate, d
		}
	}
	if best == "" {
		return " (failover run --help lists the settings)"
	}
	return " (did you mean " + best + "?)"
}

// distance returns the number of characters to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// warnIfReadableByOthers warns if other users of the machine can read a file with a secret.
func (cfg *config) warnIfReadableByOthers(flag, name string) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || textfile.OnlyOnce(name) || runtime.GOOS == "windows" {
		return
	}
	if mode := info.Mode().Perm(); mode&0o044 != 0 {
		cfg.warnings = append(cfg.warnings, fmt.Errorf(
			"--%s: other users of this machine can read the secret in %s (mode %04o): chmod 600 %[2]s", flag, name,
			mode))
	}
}

// printWarnings prints the warnings, for a command that has no log.
func (cfg *config) printWarnings() {
	for _, w := range cfg.warnings {
		fmt.Fprintln(os.Stderr, "failover: warning:", escapedError(w))
	}
	cfg.warnings = nil
}
