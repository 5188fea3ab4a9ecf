package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A key that has got into the wrong setting, or among the arguments, must not get from there into a log. keyLike is a word
// that is long enough for one: in base64, URL-encoded or not, or in hex.
var (
	keyLike = regexp.MustCompile(`[A-Za-z0-9+/=_%-]{22,}`)
	hexKey  = regexp.MustCompile(`[0-9A-Fa-f]{32,}`)
)

const (
	lowerCase = "abcdefghijklmnopqrstuvwxyz"
	upperCase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// shown is a text without the words that may be keys.
func shown(text string) string {
	return keyLike.ReplaceAllStringFunc(text, func(word string) string {
		if hexKey.MatchString(word) || strings.ContainsAny(word, lowerCase) && strings.ContainsAny(word, upperCase) {
			return "[may be a key]"
		}
		return word
	})
}

// shownError is an error about settings or arguments, none of which is a path.
func shownError(err error) error {
	if err == nil {
		return nil
	}
	if parts := joined(err); parts != nil {
		lines := make([]error, len(parts))
		for i, part := range parts {
			lines[i] = shownError(part)
		}
		return errors.Join(lines...)
	}
	return errors.New(shown(err.Error()))
}

// fileError is an error about the file that a setting names. Its name, too, may be a key, unless the way there exists.
func fileError(flag, name string, err error) error {
	if shown(name) != name && !leadsSomewhere(name) {
		return fmt.Errorf("%s holds a key, it seems: it is the name of a file", named(flag))
	}
	return fmt.Errorf("%s: %w", named(flag), err)
}

func leadsSomewhere(name string) bool {
	for dir := filepath.Dir(name); dir != "." && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			return true
		}
	}
	return false
}
