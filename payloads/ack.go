package payloads

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDescription is far below the twin's limit for a text: many answers share its 32 KB.
const maxDescription = 512

// A PropertyAck answers one desired property: the value now in force and how the wish was met.
type PropertyAck struct {
	Value       json.RawMessage // nil: none
	Code        int             // as in HTTP; 203 is a value that the device set by itself
	Version     int64           // of the desired section that was answered, 0 with 203
	Description string
}

// MarshalJSON writes a description that is empty as null, which removes that of an earlier answer from the twin.
func (a PropertyAck) MarshalJSON() ([]byte, error) {
	var description *string
	if a.Description != "" {
		description = &a.Description
	}
	return json.Marshal(struct {
		Value       json.RawMessage `json:"value"`
		Code        int             `json:"ac"`
		Version     int64           `json:"av"`
		Description *string         `json:"ad"`
	}{a.Value, a.Code, a.Version, description})
}

// An AcknowledgedProperty is a desired property with its answer.
type AcknowledgedProperty struct {
	DesiredProperty
	PropertyAck
}

// Fit is the answer as IoT Hub takes it: a long description is cut off, and a value that breaks the rules for reported
// properties is left out. Its reason is the error then.
func (a AcknowledgedProperty) Fit() (AcknowledgedProperty, error) {
	a.Description = shorten(a.Description)
	if isNull(a.PropertyAck.Value) {
		a.PropertyAck.Value = nil
	}
	err := CheckReported(PropertyAckPatch([]AcknowledgedProperty{a}))
	if err == nil || a.PropertyAck.Value == nil {
		return a, err
	}
	a.PropertyAck = a.WithoutValue(err)
	return a, err
}

// WithoutValue is the answer without its value, and why.
func (a PropertyAck) WithoutValue(reason error) PropertyAck {
	a.Value = nil
	a.Description = shorten(strings.TrimPrefix(fmt.Sprintf("%s; the value is left out: %v", a.Description, reason), "; "))
	return a
}

// ForVersion returns the acknowledgement for a version of the desired section. Code 203 is a value that the device set by itself: it
// acknowledges no version.
func (a PropertyAck) ForVersion(version int64) PropertyAck {
	if a.Version = version; a.Code == 203 {
		a.Version = 0
	}
	return a
}

// shorten cuts a text off where a character begins.
func shorten(s string) string {
	const mark = "…"
	if s = strings.ToValidUTF8(s, "?"); len(s) <= maxDescription {
		return s
	}
	end := maxDescription - len(mark)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

// PropertyAckPatch puts answers into one patch of reported properties, those of components into their marked
// components. Of two answers to one property the later counts.
func PropertyAckPatch(acks []AcknowledgedProperty) map[string]any {
	patch := map[string]any{}
	for _, a := range acks {
		place(patch, a.DesiredProperty, a.PropertyAck)
	}
	return patch
}

// ClearPatch is to be sent before the PropertyAckPatch of the same acknowledgements, unless it is empty: a twin merges an object into the
// one that it has, so values that are objects would keep what they no longer hold.
func ClearPatch(acks []AcknowledgedProperty) map[string]any {
	patch := map[string]any{}
	for _, a := range acks {
		if !isNull(a.PropertyAck.Value) && bytes.TrimSpace(a.PropertyAck.Value)[0] == '{' {
			place(patch, a.DesiredProperty, map[string]any{"value": nil})
		}
	}
	return patch
}

func place(patch map[string]any, p DesiredProperty, value any) {
	key := cmp.Or(p.Component, p.Name)
	component, isComponent := patch[key].(map[string]any)
	isComponent = isComponent && component["__t"] == "c"
	switch {
	case p.Component == "" && isComponent: // one name cannot be both: the component stays
	case p.Component == "":
		patch[key] = value
	case isComponent:
		component[p.Name] = value
	default:
		patch[key] = map[string]any{"__t": "c", p.Name: value}
	}
}
