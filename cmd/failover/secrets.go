package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A key that was put into the wrong setting or among the arguments must not reach a log. keyLike
// matches a word that is long enough to be a key in base64, URL-encoded or not, or in hex.
var (
	keyLike = regexp.MustCompile(`[A-Za-z0-9+/=_%-]{22,}`)
	hexKey  = regexp.MustCompile(`[0-9A-Fa-f]{32,}`)
)

const (
	lowerCase = "abcdefghijklmnopqrstuvwxyz"
	upperCase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// withoutKeys replaces each word of a text that may be a key.
func withoutKeys(text string) string {
	return keyLike.ReplaceAllStringFunc(text, func(word string) string {
		if hexKey.MatchString(word) || strings.ContainsAny(word, lowerCase) && strings.ContainsAny(word, upperCase) {
			return "[may be a key]"
		}
		return word
	})
}

// errorWithoutKeys replaces each word of an error about settings or arguments that may be a key. Do
// not use it for an error that contains a path, because a path may look like a key.
func errorWithoutKeys(err error) error {
	if err == nil {
		return nil
	}
	if parts := joined(err); parts != nil {
		lines := make([]error, len(parts))
		for i, part := range parts {
			lines[i] = errorWithoutKeys(part)
		}
		return errors.Join(lines...)
	}
	return errors.New(withoutKeys(err.Error()))
}

// fileError returns an error about the file that a setting names. The user may have given a key
// instead of the name by mistake. So a name that looks like a key is shown only if one of its parent
// directories exists.
func fileError(flag, name string, err error) error {
	if withoutKeys(name) != name && !hasExistingParent(name) {
		return fmt.Errorf("%s seems to be a key: give the name of the file that contains it", settingName(flag))
	}
	return fmt.Errorf("%s: %w", settingName(flag), err)
}

// hasExistingParent reports whether a directory above a file exists, so that the name is a path and
// not a key.
func hasExistingParent(name string) bool {
	for dir := filepath.Dir(name); dir != "." && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			return true
		}
	}
	return false
}
