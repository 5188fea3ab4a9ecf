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

// checkNotEmpty refuses a flag or an argument that was given but is empty, because a script with an
// unset variable must not get the default value. It also expands ~ in paths that no shell has
// expanded.
func checkNotEmpty(flags *pflag.FlagSet, args []string) error {
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

// valuesOf returns the values of a flag. Only the flag of a list has several values.
func valuesOf(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

// isPath reports whether the help shows that a flag's value is a path.
func isPath(f *pflag.Flag) bool {
	placeholder, _ := pflag.UnquoteUsage(f)
	return placeholder == "file" || placeholder == "directory"
}

// expandHome expands a leading ~. A shell does not do that in an env file or after --state-dir=.
func expandHome(path string) (string, error) {
	if !strings.HasPrefix(path, "~") {
		return path, nil
	}
	user, rest, _ := strings.Cut(filepath.ToSlash(path[1:]), "/")
	if user != "" {
		return "", fmt.Errorf("%s: only ~/ is expanded: write the full path, or ./~%s for a file with that name",
			path, user)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%s: there is no home directory: %w", path, err)
	}
	return filepath.Join(home, rest), nil
}

// openInput opens a file for reading. The name - means standard input.
func openInput(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(textfile.NewReader("standard input", stdin)), nil
	}
	return textfile.Open(name)
}
