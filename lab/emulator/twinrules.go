package emulator

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of a twin.
const (
	maximumSection = 32 << 10 // bytes, desired and reported each
	maximumKey     = 1 << 10  // bytes
	maximumText    = 4 << 10  // bytes
	maximumDepth   = 10       // objects or arrays within the section
	maximumInteger = 1<<52 - 1
	minimumInteger = -1 << 52
)

// A twinError is a refusal with the status and the code that a device is told.
type twinError struct {
	status, code int
	message      string
}

func (e *twinError) Error() string { return e.message }

// checkPatch tells whether a decoded patch obeys the rules for names and values.
func checkPatch(patch map[string]any) error { return checkObject(patch, 0) }

func checkObject(object map[string]any, depth int) error {
	for name, value := range object {
		if len(name) > maximumKey {
			return fmt.Errorf("a name has %d bytes, and the limit is %d", len(name), maximumKey)
		}
		if name == "" || strings.ContainsFunc(name, forbiddenInName) {
			return fmt.Errorf("the name %.100q is empty or holds one of . $ space or a control character", name)
		}
		if err := checkValue(value, depth); err != nil {
			return fmt.Errorf("%.100s: %w", name, err)
		}
	}
	return nil
}

func forbiddenInName(r rune) bool { return strings.ContainsRune(".$ ", r) || unicode.IsControl(r) }

func checkValue(value any, depth int) error {
	switch value := value.(type) {
	case map[string]any:
		if depth == maximumDepth {
			return fmt.Errorf("it is deeper than %d", maximumDepth)
		}
		return checkObject(value, depth+1)
	case []any:
		if depth == maximumDepth {
			return fmt.Errorf("it is deeper than %d", maximumDepth)
		}
		for _, element := range value {
			if err := checkValue(element, depth+1); err != nil {
				return err
			}
		}
	case string:
		if len(value) > maximumText {
			return fmt.Errorf("a text has %d bytes, and the limit is %d", len(value), maximumText)
		}
	case json.Number:
		return checkNumber(string(value))
	}
	return nil
}

func checkNumber(text string) error {
	if strings.ContainsAny(text, ".eE") {
		if f, err := strconv.ParseFloat(text, 64); err != nil || math.IsInf(f, 0) {
			return fmt.Errorf("the number %.40s is out of range", text)
		}
		return nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err != nil || n < minimumInteger || n > maximumInteger {
		return fmt.Errorf("the integer %.40s is not between %d and %d", text, int64(minimumInteger), int64(maximumInteger))
	}
	return nil
}

// sizeOfJSON counts names and texts by characters, numbers as 8 and booleans as 4.
func sizeOfJSON(value any) int {
	switch value := value.(type) {
	case map[string]any:
		size := 0
		for name, element := range value {
			size += utf8.RuneCountInString(name) + sizeOfJSON(element)
		}
		return size
	case []any:
		size := 0
		for _, element := range value {
			size += sizeOfJSON(element)
		}
		return size
	case string:
		return utf8.RuneCountInString(value)
	case bool:
		return 4
	case json.Number:
		return 8
	}
	return 0
}
