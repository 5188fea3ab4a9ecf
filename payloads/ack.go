package payloads

import (
	"cmp"
	"encoding/json"
)

// An Ack answers one desired property: the value now in force and how the wish was met.
type Ack struct {
	Value       json.RawMessage `json:"value"`
	Code        int             `json:"ac"` // as in HTTP; 203 is a value that the device set by itself
	Version     int64           `json:"av"` // of the desired section that was answered, 0 with 203
	Description string          `json:"ad,omitempty"`
}

// An Acked is a desired property with its answer.
type Acked struct {
	DesiredProperty
	Ack
}

// AckPatch puts answers into one patch of reported properties, those of components into their marked
// components. Of two answers to one property the later counts.
func AckPatch(acks []Acked) map[string]any {
	patch := map[string]any{}
	for _, a := range acks {
		key := cmp.Or(a.Component, a.Name)
		component, isComponent := patch[key].(map[string]any)
		switch {
		case a.Component == "" && isComponent: // one name cannot be both: the component stays
		case a.Component == "":
			patch[key] = a.Ack
		case isComponent:
			component[a.Name] = a.Ack
		default:
			patch[key] = map[string]any{"__t": "c", a.Name: a.Ack}
		}
	}
	return patch
}
