package payloads

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"unicode/utf8"
)

// encoding/json changes a text that it cannot represent, without an error. If an object has a name
// twice, the last value counts. Half of a surrogate pair, or a byte that is not UTF-8, becomes
// U+FFFD, so that two names can become one. The functions of this file refuse such text. Text that
// is passed on undecoded need not be checked.

// CheckJSON returns an error if decoding would change a JSON text.
func CheckJSON(text []byte) error { return checkExact(text, true) }

// ReadObject returns the members of a JSON object, with their values as they are. It returns an
// error if the text is not an object, or if decoding would change a member's name. It does not
// check the values.
func ReadObject(text []byte) (map[string]json.RawMessage, error) {
	if err := checkExact(text, false); err != nil {
		return nil, err
	}
	if bytes.TrimLeft(text, jsonSpace)[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	var members map[string]json.RawMessage
	err := json.Unmarshal(text, &members)
	return members, err
}

// decodeMembers decodes the members of an object whose names are keys of into. Unlike encoding/json
// it compares names with case. It decodes all that can be decoded, and returns one of the errors.
func decodeMembers(text []byte, into map[string]any) error {
	return decodeMatching(text, into, func(a, b string) bool { return a == b })
}

// decodeMatching is decodeMembers with another comparison of names. If two members match one name,
// neither counts.
func decodeMatching(text []byte, into map[string]any, same func(a, b string) bool) error {
	members, err := ReadObject(text)
	for name, value := range into {
		var matching []string
		for _, member := range slices.Sorted(maps.Keys(members)) {
			if same(member, name) {
				matching = append(matching, member)
			}
		}
		switch len(matching) {
		case 0:
		case 1:
			if bad := json.Unmarshal(members[matching[0]], value); bad != nil {
				err = fmt.Errorf("%s: %w", name, bad)
			}
		default:
			err = fmt.Errorf("%s stands twice, as %q", name, matching)
		}
	}
	return err
}

// Marshal is json.Marshal, but returns an error if the text is not UTF-8.
func Marshal(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) || !isText(reflect.ValueOf(v)) {
		return nil, errors.New("a string is not UTF-8")
	}
	return text, nil
}

const jsonSpace = " \t\r\n"

// hasWholePairs matches a string of valid JSON if each \u escape of half of a surrogate pair is
// followed by the other half.
var hasWholePairs = regexp.MustCompile(
	`^(?:[^\\]|\\[^u]|\\u(?:[^dD].|[dD][0-7])..|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)*$`).Match

// checkExact checks all strings of a JSON text if deep is set, and otherwise only the names of the
// outermost object.
func checkExact(text []byte, deep bool) error {
	if !utf8.Valid(text) || !json.Valid(text) {
		return errors.New("not UTF-8 JSON")
	}
	var open []map[string]bool // names so far in each object or array that is still open
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			open = append(open, map[string]bool{})
		case '}', ']':
			open = open[:len(open)-1]
		case '"':
			quoted := text[i : i+stringLength(text[i:])]
			i += len(quoted) - 1
			isName := bytes.HasPrefix(bytes.TrimLeft(text[i+1:], jsonSpace), []byte(":"))
			if !deep && (!isName || len(open) > 1) {
				continue
			}
			if bytes.Contains(quoted, []byte(`\u`)) && !hasWholePairs(quoted) {
				return fmt.Errorf("%.80s holds half of a surrogate pair", quoted)
			}
			if !isName {
				continue
			}
			var name string
			_ = json.Unmarshal(quoted, &name) // cannot fail: quoted is a string of valid JSON
			names := open[len(open)-1]
			if names[name] {
				return fmt.Errorf("%.80s stands twice in one object", quoted)
			}
			names[name] = true
		}
	}
	return nil
}

// stringLength returns the length of the string at the beginning of valid JSON, with its quotes.
func stringLength(text []byte) int {
	i := 1
	for ; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// isText reports whether every string that json.Marshal takes from a value is UTF-8. The value has
// been marshalled, so it has no cycles. The JSON of a json.Marshaler is checked by Marshal.
func isText(v reflect.Value) bool {
	if v.Kind() == reflect.Interface {
		v = v.Elem() // json.Marshal writes null for a nil pointer in an interface, too
	}
	if !v.IsValid() || !v.CanInterface() || v.Kind() == reflect.Pointer && v.IsNil() {
		return true
	}
	switch m := v.Interface().(type) {
	case json.Marshaler:
		return true
	case encoding.TextMarshaler:
		text, err := m.MarshalText()
		return err != nil || utf8.Valid(text)
	}
	switch v.Kind() {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Pointer:
		return isText(v.Elem())
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			if !isText(i.Key()) || !isText(i.Value()) {
				return false
			}
		}
	case reflect.Slice, reflect.Array:
		for i := 0; i < v.Len() && v.Type().Elem().Kind() != reflect.Uint8; i++ { // json.Marshal writes bytes as base64
			if !isText(v.Index(i)) {
				return false
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" && !isText(v.Field(i)) {
				return false
			}
		}
	}
	return true
}
