package payloads

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// SameJSON reports whether two JSON texts have the same value: the order of members, spaces, and
// how a number is written (1 or 1.0) do not matter. Texts that decoding would change are the same
// only if their bytes are.
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

// canonicalNumber writes a number as 0.digits and a power of ten. It does not compute the number,
// because 1e999999999 is a number too.
func canonicalNumber(text string) json.Number {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	power := 0
	if exponent != "" {
		var err error
		if power, err = strconv.Atoi(exponent); err != nil {
			return json.Number(text)
		}
	}
	unsigned := strings.TrimPrefix(mantissa, "-")
	sign := mantissa[:len(mantissa)-len(unsigned)]
	whole, fraction, _ := strings.Cut(unsigned, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0"
	}
	return json.Number(sign + "0." + short + "e" + strconv.Itoa(power-len(fraction)+len(digits)))
}

// Merge returns the value that a twin holds after it has merged a patch into a value: null removes
// a member, objects are merged, and any other value replaces. It returns an error for objects that
// decoding would change. Source: azure-docs iot-hub/iot-hub-devguide-device-twins.md.
func Merge(value, patch json.RawMessage) (json.RawMessage, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(patch), []byte("{")) {
		return patch, nil
	}
	var under any
	over, err := asJSON(patch)
	if err == nil && len(value) > 0 {
		under, err = asJSON(value)
	}
	if err != nil {
		return nil, fmt.Errorf("payloads: merge: %w", err)
	}
	return json.Marshal(merge(under, over))
}

func merge(under, over any) any {
	members, isObject := over.(map[string]any)
	if !isObject {
		return over
	}
	merged, isObject := under.(map[string]any)
	if !isObject {
		merged = map[string]any{}
	}
	for name, value := range members {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = merge(merged[name], value)
		}
	}
	return merged
}
