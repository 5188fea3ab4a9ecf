package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"giantlizard.example/failover/lab/emulator"
)

// A word is a part of a statement: a plain word, name=value, or a JSON value.
type word struct {
	text string // the word as it is written; JSON is without spaces
	name string // the name in name=value
	data string // the value in name=value, without quotes
}

// words splits a line into statements of words. A ';' ends a statement. A '#' at the beginning of a
// word begins a comment.
func words(line string) (statements [][]word, err error) {
	statement := []word{}
	for {
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			return append(statements, statement), nil
		}
		if line[0] == ';' {
			statements, statement, line = append(statements, statement), []word{}, line[1:]
			continue
		}
		var w word
		if w, line, err = firstWord(line); err != nil {
			return nil, err
		}
		statement = append(statement, w)
	}
}

// firstWord returns the first word of a line, and the rest of the line.
func firstWord(line string) (word, string, error) {
	if strings.ContainsRune(`{["`, rune(line[0])) {
		value, rest, err := firstJSON(line)
		return word{text: value}, rest, err
	}
	end := strings.IndexFunc(line, func(r rune) bool { return r == ';' || unicode.IsSpace(r) })
	if end < 0 {
		end = len(line)
	}
	if name, _, ok := strings.Cut(line[:end], `="`); ok {
		value, rest, err := firstJSON(line[len(name)+1:])
		if err != nil {
			return word{}, "", err
		}
		if err := emulator.CheckJSON([]byte(value)); err != nil {
			return word{}, "", err
		}
		w := word{text: name + "=" + value, name: name}
		return w, rest, json.Unmarshal([]byte(value), &w.data)
	}
	w := word{text: line[:end]}
	if name, value, ok := strings.Cut(w.text, "="); ok {
		w.name, w.data = name, value
	}
	return w, line[end:], nil
}

// firstJSON reads one JSON value. A space or the end of the statement must follow.
func firstJSON(line string) (value, rest string, err error) {
	decoder := json.NewDecoder(strings.NewReader(line))
	var raw json.RawMessage
	if err := decoder.Decode(&raw); err != nil {
		return "", "", fmt.Errorf("%.60q is not JSON: %w", line, explainJSON(err))
	}
	rest = line[decoder.InputOffset():]
	if next, _ := utf8.DecodeRuneInString(rest); rest != "" && next != ';' && !unicode.IsSpace(next) {
		return "", "", fmt.Errorf("%.60q follows a JSON value without a space", rest)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return "", "", err
	}
	return compact.String(), rest, nil
}

// explainJSON explains an error in JSON, which must end on the line where it begins.
func explainJSON(err error) error {
	if strings.Contains(err.Error(), "EOF") {
		return errors.New("its end is missing on this line")
	}
	return err
}

// quoteIfNeeded returns the value of a parameter as it must be written in a text.
func quoteIfNeeded(value string) string {
	if !strings.ContainsFunc(value, func(r rune) bool { return r == ';' || r == '"' || unicode.IsSpace(r) }) {
		return value
	}
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // cannot fail: the string was read from JSON
	return strings.TrimSuffix(quoted.String(), "\n")
}
