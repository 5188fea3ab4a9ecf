package payloads

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The twin's rules, from azure-docs iot-hub/iot-hub-devguide-device-twins.md, "Tags and properties format" and
// "Device twin size".
const (
	maxReportedBytes = 32 * 1024 // of reported properties; desired ones have as many for themselves
	maxTwinDepth     = 10        // objects; the document does not say whether arrays count
	maxTwinLevels    = 64        // objects and arrays together: what JSON readers for .NET take by default (MaxDepth)
	maxTwinKey       = 1024      // bytes of UTF-8
	maxTwinString    = 4 * 1024  // bytes of UTF-8
	minTwinInteger   = -1 << 52
	maxTwinInteger   = 1<<52 - 1
)

// CheckReported says whether IoT Hub will take a patch of reported properties. It sees the patch alone:
// the hub's limit is on the whole section, which a patch that fits can still overfill.
func CheckReported(patch map[string]any) error {
	size := 0
	for _, key := range slices.Sorted(maps.Keys(patch)) {
		value, err := asJSON(patch[key])
		if err == nil && !utf8.ValidString(key) {
			err = errors.New("the name is not UTF-8")
		}
		if err != nil {
			return fmt.Errorf("payloads: reported %.200q: %w", key, err)
		}
		n, err := checkEntry(key, key, value, nesting{})
		if err != nil {
			return fmt.Errorf("payloads: reported %w", err)
		}
		size += n
	}
	if size > maxReportedBytes {
		return fmt.Errorf("payloads: reported properties: %d bytes as IoT Hub counts them, at most %d fit",
			size, maxReportedBytes)
	}
	if body, _ := json.Marshal(patch); len(body) > MaxMessageBytes { // what counts for nothing takes room, too
		return fmt.Errorf("payloads: reported properties: a message of %d bytes, at most %d fit", len(body), MaxMessageBytes)
	}
	return nil
}

// asJSON gives the value as it will go over the wire, with its numbers as they are written there. What would be
// changed on the way is an error.
func asJSON(v any) (any, error) {
	encoded, err := Marshal(v)
	if err == nil {
		err = CheckJSON(encoded)
	}
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	var plain any
	err = decoder.Decode(&plain)
	return plain, err
}

// checkEntry checks a key with its value and returns the bytes they count for. A null deletes, so it
// counts for nothing.
func checkEntry(path, key string, value any, within nesting) (int, error) {
	if err := checkKey(key); err != nil {
		return 0, fmt.Errorf("%.200q: the key %w", path, err)
	}
	size, err := checkValue(path, value, within)
	if value == nil || err != nil {
		return 0, err
	}
	return characters(key) + size, nil
}

// A nesting is how many objects and arrays a value is within. If a hub should count arrays like objects, it
// answers 400, and the property is given up with a warning.
type nesting struct{ objects, arrays int }

func (n nesting) check(path string) error {
	switch {
	case n.objects > maxTwinDepth:
		return fmt.Errorf("%.200q: nested deeper than %d levels", path, maxTwinDepth)
	case n.objects+n.arrays > maxTwinLevels:
		return fmt.Errorf("%.200q: nested deeper than %d levels, arrays included", path, maxTwinLevels)
	}
	return nil
}

func checkValue(path string, value any, within nesting) (int, error) {
	switch v := value.(type) {
	case string:
		if len(v) > maxTwinString {
			return 0, fmt.Errorf("%.200q: a string of %d bytes, at most %d fit", path, len(v), maxTwinString)
		}
		return characters(v), nil
	case json.Number:
		if err := checkNumber(v); err != nil {
			return 0, fmt.Errorf("%.200q: %w", path, err)
		}
		return 8, nil
	case bool:
		return 4, nil
	}
	return checkMembers(path, value, within)
}

func checkMembers(path string, value any, within nesting) (int, error) {
	size := 0
	switch v := value.(type) {
	case map[string]any:
		within.objects++
		if err := within.check(path); err != nil {
			return 0, err
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			n, err := checkEntry(path+"."+key, key, v[key], within)
			if err != nil {
				return 0, err
			}
			size += n
		}
	case []any:
		within.arrays++
		if err := within.check(path); err != nil {
			return 0, err
		}
		for i, element := range v {
			n, err := checkValue(path+"["+strconv.Itoa(i)+"]", element, within)
			if err != nil {
				return 0, err
			}
			size += n
		}
	}
	return size, nil
}

// checkKey refuses an empty key too. No document does, but no model can name such a property.
func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("is empty")
	case len(key) > maxTwinKey:
		return fmt.Errorf("has %d bytes, at most %d fit", len(key), maxTwinKey)
	case strings.ContainsAny(key, ".$ ") || strings.ContainsFunc(key, unicode.IsControl):
		return errors.New("holds a dot, a $, a space or a control character")
	}
	return nil
}

// checkNumber looks at integers, which the document limits, and at what no float64 holds, which no JSON reader
// agrees about. 1e20 from a Go float is written without an exponent and so is an integer.
func checkNumber(n json.Number) error {
	if strings.ContainsAny(n.String(), ".eE") {
		if _, err := n.Float64(); err != nil {
			return fmt.Errorf("the number %.80s is out of range", n)
		}
		return nil
	}
	i, err := n.Int64()
	if err != nil || i < minTwinInteger || i > maxTwinInteger {
		return fmt.Errorf("the integer %.80s is not between %d and %d", n, int64(minTwinInteger), int64(maxTwinInteger))
	}
	return nil
}

// characters counts as IoT Hub does: without control characters (segments C0 and C1).
func characters(s string) int {
	n := 0
	for _, r := range s {
		if !unicode.IsControl(r) {
			n++
		}
	}
	return n
}
