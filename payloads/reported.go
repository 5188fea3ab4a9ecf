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

// The twin's rules, as IoT Hub documents them.
const (
	maxReportedBytes = 32 * 1024
	maxTwinDepth     = 10
	maxTwinKey       = 1024
	maxTwinString    = 4 * 1024
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
		n, err := checkEntry(key, key, value, 1)
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
func checkEntry(path, key string, value any, depth int) (int, error) {
	if err := checkKey(key); err != nil {
		return 0, fmt.Errorf("%.200q: the key %w", path, err)
	}
	size, err := checkValue(path, value, depth)
	if value == nil || err != nil {
		return 0, err
	}
	return characters(key) + size, nil
}

func checkValue(path string, value any, depth int) (int, error) {
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
	case map[string]any, []any:
		if depth > maxTwinDepth {
			return 0, fmt.Errorf("%.200q: nested deeper than %d levels", path, maxTwinDepth)
		}
	}
	return checkMembers(path, value, depth)
}

// checkMembers counts an array as a level too: the documents speak of objects only.
func checkMembers(path string, value any, depth int) (int, error) {
	size := 0
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			n, err := checkEntry(path+"."+key, key, v[key], depth+1)
			if err != nil {
				return 0, err
			}
			size += n
		}
	case []any:
		for i, element := range v {
			n, err := checkValue(path+"["+strconv.Itoa(i)+"]", element, depth+1)
			if err != nil {
				return 0, err
			}
			size += n
		}
	}
	return size, nil
}

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

// checkNumber looks at integers, and at what no float64 holds. 1e20 from a Go float is written without an exponent and so
// is an integer.
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

// characters counts as IoT Hub does: without control characters.
func characters(s string) int {
	n := 0
	for _, r := range s {
		if !unicode.IsControl(r) {
			n++
		}
	}
	return n
}
