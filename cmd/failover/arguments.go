package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"giantlizard.example/failover/textfile"
)

// checkGiven refuses a flag or an argument that was given and is empty, as an unset variable of a
// script leaves it: it must not count as one that was left out. In paths it expands what no shell
// has expanded.
func checkGiven(flags *pflag.FlagSet, args []string) error {
	var errs []error
	for i, a := range args {
		if strings.TrimSpace(a) == "" {
			errs = append(errs, fmt.Errorf("argument %d is empty: give it a value, or leave it out", i+1))
		}
	}
	flags.Visit(func(f *pflag.Flag) {
		for _, value := range valuesOf(f) {
			if strings.TrimSpace(value) == "" {
				errs = append(errs, fmt.Errorf("--%s is empty: give it a value, or leave it out", f.Name))
			}
		}
		if isPath(f) {
			path, err := expandHome(f.Value.String())
			if err == nil {
				err = f.Value.Set(path)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("--%s: %w", f.Name, err))
			}
		}
	})
	return errors.Join(errs...)
}

func valuesOf(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

// isPath reports whether the help shows that a flag's value is a path.
func isPath(f *pflag.Flag) bool {
	what, _ := pflag.UnquoteUsage(f)
	return what == "file" || what == "directory"
}

// expandHome expands a leading ~, as a shell does where it sees one: not in an env file, nor behind --state-dir=.
func expandHome(path string) (string, error) {
	if !strings.HasPrefix(path, "~") {
		return path, nil
	}
	user, rest, _ := strings.Cut(filepath.ToSlash(path[1:]), "/")
	if user != "" {
		return "", fmt.Errorf("%s: only ~/ is expanded: write the whole path, or ./~%s for a file of that name",
			path, user)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%s: there is no home directory: %w", path, err)
	}
	return filepath.Join(home, rest), nil
}

// openInput opens a file to read it piece by piece; - is standard input.
func openInput(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(textfile.NewReader("standard input", stdin)), nil
	}
	return textfile.Open(name)
}
