package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"giantlizard.example/failover/payloads"
)

// A twinFile is what the file holds of a twin: the reported properties and the answers that no hub has confirmed, and perhaps
// some that one has. What is sent again is the newest of its kind, so it does no harm. Which desired properties have been handled
// is not in it: a program that starts is given each of them.
type twinFile struct {
	First    json.RawMessage `json:"first,omitempty"`    // what must go before, as in changes
	Reported json.RawMessage `json:"reported,omitempty"` // as it was merged
	Answers  []keptAnswer    `json:"answers,omitempty"`
}

type keptAnswer struct {
	Component   string          `json:"component,omitempty"`
	Name        string          `json:"name"`
	Wished      string          `json:"wished"` // JSON in a string, for a hub may wish what no file should be made of
	Value       json.RawMessage `json:"value,omitempty"`
	Code        int             `json:"ac"`
	Version     int64           `json:"av"`
	Description string          `json:"ad,omitempty"`
}

// answersRoom bounds the answers that are kept, in bytes. It is far more than a twin holds of them; what is above it is answered
// anew after a restart.
const answersRoom = 256 << 10

func (f twinFile) empty() bool { return f.Reported == nil && f.Answers == nil }

func (b batch) stored() (f twinFile) {
	f.First, f.Reported = storedObject(b.own.first), storedObject(b.own.then)
	room := answersRoom
	for _, key := range slices.SortedFunc(maps.Keys(b.answers), payloads.PropertyName.Compare) {
		a := b.answers[key]
		room -= len(a.Component) + len(a.Name) + len(a.DesiredProperty.Value) + len(a.PropertyAck.Value) + len(a.Description)
		if room < 0 {
			break
		}
		f.Answers = append(f.Answers, keptAnswer{
			a.Component, a.Name, string(a.DesiredProperty.Value), a.PropertyAck.Value, a.Code, a.Version, a.Description,
		})
	}
	return f
}

// storedObject is a patch as JSON. An empty one is nil.
func storedObject(patch map[string]any) json.RawMessage {
	if len(patch) == 0 {
		return nil
	}
	text, _ := json.Marshal(patch) // it was made of JSON
	return text
}

func (f twinFile) batch() (b batch, err error) {
	if b.own.first, err = readStored(f.First); err != nil {
		return batch{}, err
	}
	if b.own.then, err = readStored(f.Reported); err != nil {
		return batch{}, err
	}
	for _, a := range f.Answers {
		b.answer(payloads.AcknowledgedProperty{
			DesiredProperty: payloads.DesiredProperty{Component: a.Component, Name: a.Name, Value: json.RawMessage(a.Wished)},
			PropertyAck:     payloads.PropertyAck{Value: a.Value, Code: a.Code, Version: a.Version, Description: a.Description},
		})
	}
	return b, nil
}

func readStored(object json.RawMessage) (patch map[string]any, err error) {
	if object == nil {
		return nil, nil
	}
	return readPatch(object)
}

// readPatch keeps the digits of numbers.
func readPatch(text []byte) (patch map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return patch, d.Decode(&patch)
}

// load has what no hub had confirmed before the restart wait again. An error is a warning.
func (r *reports) load() error {
	f, ok, err := r.kept.load()
	if ok {
		if r.waiting, err = f.batch(); err != nil {
			err = r.kept.file.SetAside("damaged", err)
		}
	}
	if err != nil {
		return fmt.Errorf("hub: the reported properties: %w", err)
	}
	return nil
}
