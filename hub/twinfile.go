package hub

import (
	"encoding/json"
	"maps"
	"slices"

	"giantlizard.example/failover/payloads"
)

// A twinFile is the content of the file for a twin: the reported properties and acknowledgements
// that no hub has confirmed, and perhaps some that a hub has confirmed. Sending those again does no
// harm, since they are the newest. The file does not say which desired properties have been
// handled: a program that starts is given each of them.
type twinFile struct {
	First    json.RawMessage `json:"first,omitempty"` // the patch merged.first; Reported is the patch merged.then
	Reported json.RawMessage `json:"reported,omitempty"`
	Acks     []storedAck     `json:"answers,omitempty"`
}

type storedAck struct {
	Component string `json:"component,omitempty"`
	Name      string `json:"name"`
	// Desired is JSON in a string, because a hub may send JSON that would damage the file.
	Desired     string          `json:"wished"`
	Value       json.RawMessage `json:"value,omitempty"`
	Code        int             `json:"ac"`
	Version     int64           `json:"av"`
	Description string          `json:"ad,omitempty"`
}

// acksRoom bounds the total size of the acknowledgements in the file, in bytes. It is far more than
// the acknowledgements in a twin can have. A property whose acknowledgement is left out is
// acknowledged again after a restart.
const acksRoom = 256 << 10

func (f twinFile) isEmpty() bool { return f.Reported == nil && f.Acks == nil }

func (b batch) stored() (f twinFile) {
	f.First, f.Reported = storedPatch(b.reports.first), storedPatch(b.reports.then)
	room := acksRoom
	for _, key := range slices.SortedFunc(maps.Keys(b.acks), payloads.PropertyName.Compare) {
		a := b.acks[key]
		room -= len(a.Component) + len(a.Name) + len(a.DesiredProperty.Value) + len(a.PropertyAck.Value) +
			len(a.Description)
		if room < 0 {
			break
		}
		f.Acks = append(f.Acks, storedAck{
			a.Component, a.Name, string(a.DesiredProperty.Value), a.PropertyAck.Value, a.Code, a.Version, a.Description,
		})
	}
	return f
}

// storedPatch returns a patch as JSON, or nil if the patch is empty.
func storedPatch(patch map[string]any) json.RawMessage {
	if len(patch) == 0 {
		return nil
	}
	text, _ := json.Marshal(patch) // cannot fail: the patch was read from JSON
	return text
}

func (f twinFile) batch() (b batch, err error) {
	if b.reports.first, err = readPatch(f.First); err != nil {
		return batch{}, err
	}
	if b.reports.then, err = readPatch(f.Reported); err != nil {
		return batch{}, err
	}
	for _, a := range f.Acks {
		desired := payloads.DesiredProperty{Component: a.Component, Name: a.Name, Value: json.RawMessage(a.Desired)}
		ack := payloads.PropertyAck{Value: a.Value, Code: a.Code, Version: a.Version, Description: a.Description}
		b.acknowledge(payloads.AcknowledgedProperty{DesiredProperty: desired, PropertyAck: ack})
	}
	return b, nil
}

// readPatch decodes a patch and keeps the digits of its numbers. The patch of a nil text is nil.
func readPatch(text []byte) (patch map[string]any, err error) {
	if text == nil {
		return nil, nil
	}
	return patch, payloads.DecodeNumbers(text, &patch)
}
