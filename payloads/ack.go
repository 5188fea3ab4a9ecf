package payloads

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDescription is the length of the longest description, in bytes. It is far below the limit for
// a string, because all acknowledgements share the 32 KB of a twin's reported properties.
const maxDescription = 512

// codeSetByDevice is the code of a value that the device set by itself. Such an acknowledgement has
// version 0. Source: azure-docs iot-develop/concepts-convention.md, "Writable properties".
const codeSetByDevice = 203

// A PropertyAck is what a device reports of a desired property: the value in force, and how the
// desired value was applied. Its members on the wire are value, ac, av and ad. Source: azure-docs
// iot-develop/concepts-convention.md, "Writable properties".
type PropertyAck struct {
	Value       json.RawMessage // nil is written as null
	Code        int             // status as in HTTP; 203 is for a value that the device set by itself
	Version     int64           // version of the desired section that is acknowledged; 0 with code 203
	Description string          // written as null if it is empty
}

// MarshalJSON writes an empty description as null, which removes an earlier description from the
// twin.
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

// ForVersion returns the acknowledgement of a version of the desired section. A value that the
// device set by itself acknowledges no version.
func (a PropertyAck) ForVersion(version int64) PropertyAck {
	if a.Version = version; a.Code == codeSetByDevice {
		a.Version = 0
	}
	return a
}

// WithoutValue returns the acknowledgement without its value. The description gives the reason.
func (a PropertyAck) WithoutValue(reason error) PropertyAck {
	a.Value = nil
	description := fmt.Sprintf("%s; the value is left out: %v", a.Description, reason)
	a.Description = shorten(strings.TrimPrefix(description, "; "))
	return a
}

// An AcknowledgedProperty is a desired property with its acknowledgement.
type AcknowledgedProperty struct {
	DesiredProperty
	PropertyAck
}

// Fit returns the acknowledgement in a form that IoT Hub accepts. It shortens a long description,
// and leaves out a value that breaks the rules for reported properties. The error names the broken
// rule; nil means that nothing was left out.
func (a AcknowledgedProperty) Fit() (AcknowledgedProperty, error) {
	a.Description = shorten(a.Description)
	if isNull(a.PropertyAck.Value) {
		a.PropertyAck.Value = nil
	}
	err := CheckReported(PropertyAckPatch([]AcknowledgedProperty{a}))
	if err != nil && a.PropertyAck.Value != nil {
		a.PropertyAck = a.WithoutValue(err)
	}
	return a, err
}

// shorten cuts a text to maxDescription bytes, between two characters.
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

// PropertyAckPatch returns one patch of reported properties that holds all acknowledgements, with
// the marker in each component. Of two acknowledgements of one property the later counts.
func PropertyAckPatch(acks []AcknowledgedProperty) map[string]any {
	patch := map[string]any{}
	for _, a := range acks {
		addToPatch(patch, a.DesiredProperty, a.PropertyAck)
	}
	return patch
}

// ClearPatch returns a patch that sets to null the values that are objects. Unless it is empty,
// send it before the PropertyAckPatch of the same acknowledgements: a twin merges an object into
// the object that it holds, so members that a value no longer has would stay.
func ClearPatch(acks []AcknowledgedProperty) map[string]any {
	patch := map[string]any{}
	for _, a := range acks {
		if bytes.HasPrefix(bytes.TrimSpace(a.PropertyAck.Value), []byte("{")) {
			addToPatch(patch, a.DesiredProperty, map[string]any{"value": nil})
		}
	}
	return patch
}

// addToPatch adds a property to a patch. If a component has the name of the property, the patch
// keeps the component.
func addToPatch(patch map[string]any, p DesiredProperty, value any) {
	component, isComponent := patch[cmp.Or(p.Component, p.Name)].(map[string]any)
	isComponent = isComponent && component[ComponentMarker] == "c"
	switch {
	case p.Component == "" && !isComponent:
		patch[p.Name] = value
	case p.Component != "" && isComponent:
		component[p.Name] = value
	case p.Component != "":
		patch[p.Component] = map[string]any{ComponentMarker: "c", p.Name: value}
	}
}
