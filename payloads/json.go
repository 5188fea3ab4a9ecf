package payloads

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// SameJSON tells whether two JSON values are equal however they are spelled: order of keys, spaces, 1 and 1.0.
// Values that cannot be decoded without a change are equal only byte for byte.
func SameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	left, err := asJSON(a)
	if err != nil {
		return false
	}
	right, err := asJSON(b)
	return err == nil && reflect.DeepEqual(canonical(left), canonical(right))
}

func canonical(v any) any {
	switch v := v.(type) {
	case json.Number:
		return canonicalNumber(v.String())
	case map[string]any:
		for k := range v {
			v[k] = canonical(v[k])
		}
	case []any:
		for i := range v {
			v[i] = canonical(v[i])
		}
	}
	return v
}

// canonicalNumber writes a number as its digits and a power of ten. It computes nothing: 1e999999999 is a number too.
func canonicalNumber(text string) json.Number {
	rest, negative := strings.CutPrefix(text, "-")
	mantissa, power, exponent := rest, 0, ""
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		var err error
		mantissa, exponent = rest[:i], rest[i+1:]
		if power, err = strconv.Atoi(exponent); err != nil {
			return json.Number(text)
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	short := strings.TrimRight(digits, "0")
	switch {
	case short == "":
		return "0"
	case negative:
		rest = "-" + short
	default:
		rest = short
	}
	return json.Number(rest + "e" + strconv.Itoa(power-len(fraction)+len(digits)-len(short)))
}

// Merge is a value after a patch of it, merged as a twin does: null removes, objects are merged, anything else replaces.
// Objects that cannot be decoded without a change are not merged, but an error.
func Merge(value, patch json.RawMessage) (json.RawMessage, error) {
	if isNull(patch) || bytes.TrimSpace(patch)[0] != '{' {
		return patch, nil
	}
	newer, err := asJSON(patch)
	if err != nil {
		return nil, fmt.Errorf("payloads: merge: %w", err)
	}
	over, _ := newer.(map[string]any)
	var under map[string]any
	if len(value) > 0 {
		older, err := asJSON(value)
		if err != nil {
			return nil, fmt.Errorf("payloads: merge: %w", err)
		}
		under, _ = older.(map[string]any)
	}
	merged, err := json.Marshal(mergeObjects(under, over))
	if err != nil {
		return nil, fmt.Errorf("payloads: merge: %w", err)
	}
	return merged, nil
}

func mergeObjects(under, over map[string]any) map[string]any {
	if under == nil {
		under = map[string]any{}
	}
	for k, v := range over {
		switch v := v.(type) {
		case nil:
			delete(under, k)
		case map[string]any:
			before, _ := under[k].(map[string]any)
			under[k] = mergeObjects(before, v)
		default:
			under[k] = v
		}
	}
	return under
}
