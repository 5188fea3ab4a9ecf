package drill

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// witness notes what is done to the cloud.
func (t *trial) witness(h scenario.Event) {
	e := &t.evidence
	if h.Answer != nil {
		e.Calls = append(e.Calls, Call{h.Verb, h.Answer.Err})
		return
	}
	if h.Verb == scenario.Desired && h.Err != nil && !errors.Is(h.Err, emulator.ErrUnknownDevice) {
		t.refused = errors.Join(t.refused, fmt.Errorf("%s at %s: %w", h.Act, h.At, h.Err)) // nobody could acknowledge it
	}
	if h.Verb == scenario.Desired && h.Err == nil {
		var patch map[string]any
		_ = json.Unmarshal([]byte(h.Payload), &patch) // which the scenario has done
		t.wishes = merged(t.wishes, patch)
	}
	e.Acts = append(e.Acts, Act{At: e.Start.Add(h.Since), Text: said(h), Way: h.Way})
}

// said is what was done, and why it failed if it did.
func said(h scenario.Event) string {
	if h.Err != nil {
		return h.Act.String() + ": " + h.Err.Error()
	}
	return h.Act.String()
}

// unacknowledged are the wishes without an answer that names their value.
func (t *trial) unacknowledged() (names []string) {
	_, reported, _, _ := t.cloud.Twin(t.DeviceID)
	for _, name := range slices.Sorted(maps.Keys(t.wishes)) {
		answer, _ := reported[name].(map[string]any)
		_, coded := answer["ac"]
		_, versioned := answer["av"]
		if !(coded && versioned && reflect.DeepEqual(plain(answer["value"]), t.wishes[name])) {
			names = append(names, name)
		}
	}
	return names
}

// merged is what a twin makes of a patch: objects are merged, and null deletes.
func merged(old, patch map[string]any) map[string]any {
	all := map[string]any{}
	maps.Copy(all, old)
	for name, value := range patch {
		members, is := value.(map[string]any)
		switch {
		case value == nil:
			delete(all, name)
		case is:
			before, _ := all[name].(map[string]any)
			all[name] = merged(before, members)
		default:
			all[name] = value
		}
	}
	return all
}

// plain is a value as encoding/json decodes it.
func plain(v any) (out any) {
	text, err := json.Marshal(v)
	if err != nil {
		return v
	}
	_ = json.Unmarshal(text, &out)
	return out
}
