package emulator

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// The limits of a twin, from azure-docs iot-hub/iot-hub-devguide-device-twins.md, "Tags and
// properties format" and "Device twin size".
const (
	maximumSection = 32 << 10 // bytes of the desired properties, and of the reported properties
	maximumKey     = 1 << 10  // bytes of a name
	maximumText    = 4 << 10  // bytes of a string
	maximumDepth   = 10       // levels of objects within the section
	maximumInteger = 1<<52 - 1
	minimumInteger = -1 << 52
)

// checkPatch returns an error if a decoded patch breaks the rules for names and values. The notes
// name each use that the documents do not describe.
func checkPatch(patch map[string]any) (notes []string, err error) {
	var p patchCheck
	err = p.object(patch, 0, 0)
	slices.Sort(p.notes) // maps have no order
	return slices.Compact(p.notes), err
}

type patchCheck struct{ notes []string }

func (p *patchCheck) object(object map[string]any, depth, arrays int) error {
	for name, value := range object {
		if len(name) > maximumKey {
			return refuse(refuseTwinName, "a name has %d bytes, and the limit is %d", len(name), maximumKey)
		}
		if strings.ContainsFunc(name, forbiddenInName) {
			return refuse(refuseTwinName, "the name %.100q contains one of . $ space or a control character", name)
		}
		if name == "" {
			p.notes = append(p.notes, "a name that is empty")
		}
		if err := p.value(value, depth, arrays); err != nil {
			return fmt.Errorf("%.100s: %w", name, err)
		}
	}
	return nil
}

func forbiddenInName(r rune) bool { return strings.ContainsRune(".$ ", r) || unicode.IsControl(r) }

// value checks a value and its depth. Only objects count for the depth, as in the documents, which do
// not say whether arrays count.
func (p *patchCheck) value(value any, depth, arrays int) error {
	switch value := value.(type) {
	case map[string]any:
		if depth == maximumDepth {
			return refuse(refuseTwinDepth, "the value is nested deeper than %d objects", maximumDepth)
		}
		p.noteDepth(depth + arrays)
		return p.object(value, depth+1, arrays)
	case []any:
		p.noteDepth(depth + arrays)
		for _, element := range value {
			if element == nil {
				p.notes = append(p.notes, "a null in an array")
			}
			if err := p.value(element, depth, arrays+1); err != nil {
				return err
			}
		}
	case string:
		if len(value) > maximumText {
			return refuse(refuseTwinValue, "a string has %d bytes, and the limit is %d", len(value), maximumText)
		}
	case json.Number:
		return p.number(string(value))
	}
	return nil
}

func (p *patchCheck) noteDepth(both int) {
	if both >= maximumDepth {
		p.notes = append(p.notes, fmt.Sprintf("a depth of more than %d, if arrays count like objects", maximumDepth))
	}
}

// number checks only integers, because the documents do not limit other numbers.
func (p *patchCheck) number(text string) error {
	if strings.ContainsAny(text, ".eE") {
		if f, err := strconv.ParseFloat(text, 64); err != nil || math.IsInf(f, 0) {
			p.notes = append(p.notes, "a number that a 64-bit float cannot hold")
		}
		return nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err != nil || n < minimumInteger || n > maximumInteger {
		return refuse(refuseTwinValue, "the integer %.40s is not between %d and %d", text, int64(minimumInteger),
			int64(maximumInteger))
	}
	return nil
}

// sizeOfJSON returns the size by the rules of the service: strings and names count their characters
// without control characters, numbers count 8 and booleans 4.
func sizeOfJSON(value any) int {
	switch value := value.(type) {
	case map[string]any:
		size := 0
		for name, element := range value {
			size += characters(name) + sizeOfJSON(element)
		}
		return size
	case []any:
		size := 0
		for _, element := range value {
			size += sizeOfJSON(element)
		}
		return size
	case string:
		return characters(value)
	case bool:
		return 4
	case json.Number:
		return 8
	}
	return 0
}

func characters(text string) int {
	n := 0
	for _, r := range text {
		if !unicode.IsControl(r) {
			n++
		}
	}
	return n
}
