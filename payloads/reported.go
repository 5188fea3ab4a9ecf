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

// The limits of a twin. Source: azure-docs iot-hub/iot-hub-devguide-device-twins.md, "Tags and
// properties format" and "Device twin size".
const (
	maxReportedBytes = 32 * 1024 // size of the reported properties; desired properties have their own 32 KB
	maxTwinDepth     = 10        // nested objects; the document does not say whether arrays count
	maxTwinLevels    = 64        // nested objects and arrays: the default limit (MaxDepth) of JSON readers for .NET
	maxTwinKey       = 1024      // length of a key in bytes of UTF-8
	maxTwinString    = 4 * 1024  // length of a string in bytes of UTF-8
	minTwinInteger   = -1 << 52
	maxTwinInteger   = 1<<52 - 1
)

// CheckReported returns an error if IoT Hub would refuse a patch of reported properties. It checks
// the patch alone: a patch within the limits can still be too much for the section that the hub
// holds.
func CheckReported(patch map[string]any) error {
	var c reportedChecker
	for _, key := range slices.Sorted(maps.Keys(patch)) {
		value, err := asJSON(patch[key])
		if err == nil && !utf8.ValidString(key) {
			err = errors.New("the name is not UTF-8")
		}
		if err != nil {
			return fmt.Errorf("payloads: reported %.200q: %w", key, err)
		}
		if err := c.member(key, key, value, depth{}); err != nil {
			return fmt.Errorf("payloads: reported %w", err)
		}
	}
	if c.size > maxReportedBytes {
		return fmt.Errorf("payloads: reported properties: %d bytes as IoT Hub counts them, at most %d fit",
			c.size, maxReportedBytes)
	}
	if body, _ := json.Marshal(patch); len(body) > MaxMessageBytes { // only this limit counts nulls and brackets
		return fmt.Errorf("payloads: reported properties: a message of %d bytes, at most %d fit",
			len(body), MaxMessageBytes)
	}
	return nil
}

// asJSON returns a value as JSON decodes it, with its numbers as they are written. It returns an
// error if encoding or decoding would change the value.
func asJSON(v any) (any, error) {
	encoded, err := Marshal(v)
	if err == nil {
		err = CheckJSON(encoded)
	}
	if err != nil {
		return nil, err
	}
	var decoded any
	err = DecodeNumbers(encoded, &decoded)
	return decoded, err
}

// DecodeNumbers decodes JSON into a value. Numbers become json.Number, which keeps their digits.
func DecodeNumbers(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// A reportedChecker checks values, and adds their sizes up.
type reportedChecker struct{ size int } // total bytes, as IoT Hub counts them

// A depth is the number of objects and arrays that a value is in. If a hub counts arrays like
// objects, it answers with status 400, and the property is dropped with a warning.
type depth struct{ objects, arrays int }

func (d depth) check(path string) error {
	switch {
	case d.objects > maxTwinDepth:
		return fmt.Errorf("%.200q: nested deeper than %d levels", path, maxTwinDepth)
	case d.objects+d.arrays > maxTwinLevels:
		return fmt.Errorf("%.200q: nested deeper than %d levels, arrays included", path, maxTwinLevels)
	}
	return nil
}

// member checks a member of an object. A null removes a member, so its key does not count.
func (c *reportedChecker) member(path, key string, value any, in depth) error {
	if err := checkKey(key); err != nil {
		return fmt.Errorf("%.200q: the key %w", path, err)
	}
	if value != nil {
		c.size += characters(key)
	}
	return c.value(path, value, in)
}

func (c *reportedChecker) value(path string, value any, in depth) error {
	switch v := value.(type) {
	case string:
		c.size += characters(v)
		if len(v) > maxTwinString {
			return fmt.Errorf("%.200q: a string of %d bytes, at most %d fit", path, len(v), maxTwinString)
		}
	case json.Number:
		c.size += 8
		if err := checkNumber(v); err != nil {
			return fmt.Errorf("%.200q: %w", path, err)
		}
	case bool:
		c.size += 4
	case map[string]any:
		in.objects++
		if err := in.check(path); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := c.member(path+"."+key, key, v[key], in); err != nil {
				return err
			}
		}
	case []any:
		in.arrays++
		if err := in.check(path); err != nil {
			return err
		}
		for i, element := range v {
			if err := c.value(path+"["+strconv.Itoa(i)+"]", element, in); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkKey returns an error for a key that a twin cannot hold, and for an empty key, which no
// document forbids but no model can name.
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

// checkNumber refuses integers beyond the limits, and other numbers that no float64 holds, which
// JSON readers read in different ways. A Go float of 1e20 is written without an exponent, so it is
// an integer.
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

// characters returns the size of a string as IoT Hub counts it: without control characters
// (segments C0 and C1).
func characters(s string) int {
	n := 0
	for _, r := range s {
		if !unicode.IsControl(r) {
			n++
		}
	}
	return n
}
