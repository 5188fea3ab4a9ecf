package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"unicode/utf8"
)

// changedJSON is the part of a note on JSON for which CheckJSON returns an error.
const changedJSON = "a name that occurs twice in one object, or half of a surrogate pair"

// CheckJSON returns an error for JSON that decoding would change silently. If two members of an
// object have the same name, encoding/json keeps only the last. encoding/json also replaces half of a
// surrogate pair, and bytes that are not UTF-8, by U+FFFD, so that two names can become the same. How the
// real services treat such JSON is not documented.
func CheckJSON(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("the text is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var open []level
	for {
		begin := decoder.InputOffset()
		token, err := decoder.Token()
		switch {
		case err == io.EOF && len(open) == 0:
			return nil
		case err != nil:
			return errors.New("the text is not JSON")
		}
		if word, isString := token.(string); isString {
			switch {
			case holdsHalfPair(text[begin:decoder.InputOffset()]):
				return fmt.Errorf("%.60q contains half of a surrogate pair", word)
			case len(open) > 0 && open[len(open)-1].nameNext:
				if !open[len(open)-1].name(word) {
					return fmt.Errorf("the name %.60q occurs twice in one object", word)
				}
				continue
			}
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}, nameNext: true})
			continue
		case json.Delim('['):
			open = append(open, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) > 0 { // the end of a value in an object or array was read
			open[len(open)-1].nameNext = open[len(open)-1].names != nil
		}
	}
}

// A level is an object or an array whose end has not been read.
type level struct {
	names    map[string]bool // the names read so far; nil in an array
	nameNext bool
}

// name adds the name of a member and reports whether the object did not have it yet.
func (l *level) name(name string) bool {
	isNew := !l.names[name]
	l.names[name] = true
	l.nameNext = false
	return isNew
}

var (
	surrogatePair = regexp.MustCompile(`(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}`)
	surrogate     = regexp.MustCompile(`(?i)\\ud[89a-f]`)
)

// holdsHalfPair reports whether a \u escape stands for half of a surrogate pair.
func holdsHalfPair(quoted []byte) bool {
	quoted = bytes.ReplaceAll(quoted, []byte(`\\`), []byte("  "))
	return surrogate.Match(surrogatePair.ReplaceAllLiteral(quoted, nil))
}

// isText reports whether all strings in a value are UTF-8. json.Marshal would silently change a
// string that is not.
func isText(value any) bool {
	switch value := value.(type) {
	case string:
		return utf8.ValidString(value)
	case []any:
		return !slices.ContainsFunc(value, func(v any) bool { return !isText(v) })
	case map[string]any:
		for name, member := range value {
			if !isText(name) || !isText(member) {
				return false
			}
		}
	}
	return true
}
