package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/joho/godotenv"
	"github.com/spf13/pflag"

	"giantlizard.example/failover/textfile"
)

// A source returns the value of a variable, or "" if the variable is not set.
type source func(variable string) string

func sourceOf(values map[string]string) source {
	return func(variable string) string { return values[variable] }
}

// microsoftNames maps our variables to the names that Microsoft's samples use. Our variable takes
// precedence if both are set.
var microsoftNames = map[string]string{
	"FAILOVER_PROVISIONING_HOST": "IOTHUB_DEVICE_DPS_ENDPOINT",
	"FAILOVER_ID_SCOPE":          "IOTHUB_DEVICE_DPS_ID_SCOPE",
	"FAILOVER_DEVICE_ID":         "IOTHUB_DEVICE_DPS_DEVICE_ID",
	"FAILOVER_DEVICE_KEY":        "IOTHUB_DEVICE_DPS_DEVICE_KEY",
}

// find looks up a setting under our name and Microsoft's name. It returns the name that is set, and
// the value. It expands ~ in paths.
func (from source) find(variable string) (name, value string) {
	for _, name := range []string{variable, microsoftNames[variable]} {
		if value := from(name); name != "" && value != "" {
			if path, err := expandHome(value); err == nil && namesPath(variable) {
				value = path
			}
			return name, value
		}
	}
	return "", ""
}

// namesPath reports whether a variable holds the path of a file or a directory.
func namesPath(variable string) bool {
	return strings.HasSuffix(variable, "_FILE") || strings.HasSuffix(variable, "_DIR")
}

// checkPaths returns an error for each path that find cannot expand.
func (from source) checkPaths() error {
	var errs []error
	for _, variable := range slices.Sorted(maps.Keys(knownVariables())) {
		if namesPath(variable) {
			if _, err := expandHome(from(variable)); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", variable, err))
			}
		}
	}
	return errors.Join(errs...)
}

// variableOf returns the name of a flag's variable.
func variableOf(flag string) string {
	return "FAILOVER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settingName returns the name of a flag's setting in messages.
func settingName(flag string) string { return fmt.Sprintf("%s (--%s)", variableOf(flag), flag) }

// read sets every flag that was not given from the environment or else from the env file.
func (cfg *config) read(flags *pflag.FlagSet) error {
	given := map[string]string{}
	flags.Visit(func(f *pflag.Flag) { given[variableOf(f.Name)] = f.Value.String() })
	file, err := cfg.readEnvFile(given)
	if err != nil {
		return err
	}
	cfg.sources = []source{sourceOf(given), os.Getenv, sourceOf(file)}
	cfg.warnOfUnknownVariables(flags, file)
	var errs []error
	for _, from := range cfg.sources[1:] {
		errs = append(errs, from.checkPaths())
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if _, isGiven := given[variableOf(f.Name)]; isGiven || f.Name == "env-file" || f.Name == "help" {
			return
		}
		for _, from := range cfg.sources {
			if name, value := from.find(variableOf(f.Name)); value != "" {
				if flags.Set(f.Name, value) != nil {
					errs = append(errs, fmt.Errorf("%s is %q: it must be %s", name, value, kindOf(f)))
				}
				return
			}
		}
	})
	return errorWithoutKeys(errors.Join(errs...))
}

// kindOf describes the values of a flag.
func kindOf(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "duration":
		return "a duration, such as 30s or 5m"
	case "bool":
		return "true or false"
	case "how":
		return "always, memory, or a duration above 0, such as 10s"
	}
	return "a number, such as " + f.DefValue
}

// readEnvFile reads the env file. The default file may be missing, but a file that was named may not. No
// error quotes a line of the file, because the line may contain a key.
func (cfg *config) readEnvFile(given map[string]string) (map[string]string, error) {
	name, chosen := given["FAILOVER_ENV_FILE"]
	if !chosen {
		_, name = source(os.Getenv).find("FAILOVER_ENV_FILE")
		chosen = name != ""
	}
	if !chosen {
		name = cfg.envFile
	}
	text, err := textfile.Read(name, envLimit)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !chosen:
		return nil, nil
	case err != nil:
		return nil, fileError("env-file", name, err)
	}
	values, err := godotenv.UnmarshalBytes(append(referencedVariables(text), text...))
	if _, nameless := values[""]; err != nil || nameless {
		return nil, fmt.Errorf("%s: %s cannot be read: each line must be NAME=value, or a comment that begins with #",
			settingName("env-file"), name)
	}
	if slices.ContainsFunc(secretVariables, func(v string) bool { return values[v] != "" }) {
		cfg.warnIfReadableByOthers("env-file", name)
	}
	cfg.envFileRead = name
	return values, nil
}

const envLimit = 1 << 20 // largest size of the env file in bytes

var reference = regexp.MustCompile(`\$\{?([A-Z0-9_]+)`)

// referencedVariables returns lines for an env file that define the variables of the environment to
// which the text refers. godotenv looks for variables in the file only, and would turn $HOME/st into
// /st.
func referencedVariables(text []byte) []byte {
	var lines []byte
	for _, match := range reference.FindAllSubmatch(text, -1) {
		name := string(match[1])
		value := os.Getenv(name)
		if value != "" && !strings.ContainsAny(value, "'\r\n") && !strings.HasSuffix(value, `\`) {
			lines = fmt.Appendf(lines, "%s='%s'\n", name, value)
		}
	}
	return lines
}
