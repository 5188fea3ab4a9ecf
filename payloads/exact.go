package payloads

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// encoding/json changes what it cannot keep and says nothing: of a name that stands twice in an object the last value
// counts, and half of a surrogate pair, or a byte that is not UTF-8, becomes U+FFFD, so that two names can become one.
// What is here refuses such a text instead. A text that is not decoded but handed on as it is needs none of it.

// CheckJSON says why a JSON text cannot be decoded without a change, nil if it can.
func CheckJSON(text []byte) error { return checkExact(text, true) }

// ReadObject reads the members of a JSON object and leaves their values as they are. It refuses an object of which not
// every name can be kept; what is inside the values does not matter to it.
func ReadObject(text []byte) (map[string]json.RawMessage, error) {
	if err := checkExact(text, false); err != nil {
		return nil, err
	}
	if bytes.TrimLeft(text, " \t\r\n")[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	var members map[string]json.RawMessage
	err := json.Unmarshal(text, &members)
	return members, err
}

// decodeMembers decodes the members of an object that have a name in into. Unlike encoding/json it does not take
// "AC" for "ac". What can be decoded is, and one of the errors is returned.
func decodeMembers(text []byte, into map[string]any) error {
	return decodeMatching(text, into, func(a, b string) bool { return a == b })
}

// decodeMatching is decodeMembers with another comparison of names. Of two members that match, none counts.
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

// Marshal is json.Marshal, but refuses text that is not UTF-8.
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

// checkExact looks at every string of a text, or at the names of the outermost object alone.
func checkExact(text []byte, deep bool) error {
	if !utf8.Valid(text) || !json.Valid(text) {
		return errors.New("not UTF-8 JSON")
	}
	var open []map[string]bool // the names in each object that is open; an array has none
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			open = append(open, nil)
		case '}', ']':
			open = open[:len(open)-1]
		case '"':
			quoted := text[i : i+stringLength(text[i:])]
			i += len(quoted) - 1
			isName := beginsWithColon(text[i+1:])
			if !deep && (!isName || len(open) > 1) {
				continue
			}
			if holdsHalfPair(quoted) {
				return fmt.Errorf("%.80s holds half of a surrogate pair", quoted)
			}
			if isName && !note(&open[len(open)-1], quoted) {
				return fmt.Errorf("%.80s stands twice in one object", quoted)
			}
		}
	}
	return nil
}

// note remembers a name and reports whether it is new.
func note(names *map[string]bool, quoted []byte) bool {
	var name string
	_ = json.Unmarshal(quoted, &name) // it is a string of valid JSON
	if (*names)[name] {
		return false
	}
	if *names == nil {
		*names = map[string]bool{}
	}
	(*names)[name] = true
	return true
}

// stringLength is the length of the string that begins a valid text, its quotes included.
func stringLength(text []byte) int {
	i := 1
	for ; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func beginsWithColon(text []byte) bool {
	for _, c := range text {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == ':'
		}
	}
	return false
}

// holdsHalfPair reports whether a string of valid JSON has a \u escape that stands for half of a surrogate pair.
func holdsHalfPair(quoted []byte) bool {
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		first, ok := escaped(quoted[i:])
		switch {
		case !ok:
			i++
		case !utf16.IsSurrogate(first):
			i += 5
		default:
			second, _ := escaped(quoted[i+6:])
			if utf16.DecodeRune(first, second) == utf8.RuneError {
				return true
			}
			i += 11
		}
	}
	return false
}

// escaped is the code unit of a \uXXXX that begins a text.
func escaped(text []byte) (unit rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}

// isText reports whether every string that json.Marshal takes from a value is UTF-8. The value has been marshalled,
// so it has no cycles. What marshals itself gives JSON, which Marshal looks at.
func isText(v reflect.Value) bool {
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
	case reflect.Pointer, reflect.Interface:
		return isText(v.Elem())
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			if !isText(i.Key()) || !isText(i.Value()) {
				return false
			}
		}
	case reflect.Slice, reflect.Array:
		for i := 0; i < v.Len() && v.Type().Elem().Kind() != reflect.Uint8; i++ { // bytes become base64
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
