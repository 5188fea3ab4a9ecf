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

// record records an event of the scenario.
func (t *trial) record(h scenario.Event) {
	e := &t.evidence
	if h.Answer != nil {
		e.Calls = append(e.Calls, Call{h.Verb, h.Answer.Err})
		return
	}
	if len(t.rest) > 0 && h.At == t.rest[0].At { // the scenario also clears faults at its end, which is no step
		t.rest = t.rest[1:]
	}
	if h.Verb == scenario.Desired && h.Err != nil && !errors.Is(h.Err, emulator.ErrUnknownDevice) {
		// No device could acknowledge a property that the cloud refused.
		t.invalid = errors.Join(t.invalid, fmt.Errorf("%s at %s: %w", h.Act, h.At, h.Err))
	}
	if h.Verb == scenario.Desired && h.Err == nil {
		t.desire(h.Payload)
	}
	e.Acts = append(e.Acts, Act{At: e.Start.Add(h.Since), Text: describe(h), Way: h.Way})
}

// desire notes a patch of desired properties.
func (t *trial) desire(payload string) {
	var patch map[string]any
	_ = json.Unmarshal([]byte(payload), &patch) // cannot fail, because the scenario has parsed the payload
	t.desired = merge(t.desired, patch)
}

// describe returns a description of an event, with the error if the action failed.
func describe(h scenario.Event) string {
	if h.Err != nil {
		return h.Act.String() + ": " + h.Err.Error()
	}
	return h.Act.String()
}

// unacknowledged returns the names of the desired properties whose current value has no property
// acknowledgement.
func (t *trial) unacknowledged() (names []string) {
	_, reported, _, _ := t.cloud.Twin(t.DeviceID)
	for _, name := range slices.Sorted(maps.Keys(t.desired)) {
		answer, _ := reported[name].(map[string]any)
		_, coded := answer["ac"]
		_, versioned := answer["av"]
		if !(coded && versioned && reflect.DeepEqual(decoded(answer["value"]), t.desired[name])) {
			names = append(names, name)
		}
	}
	return names
}

// merge applies a patch as a twin does: it merges objects, and null deletes.
func merge(old, patch map[string]any) map[string]any {
	all := map[string]any{}
	maps.Copy(all, old)
	for name, value := range patch {
		members, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(all, name)
		case isObject:
			before, _ := all[name].(map[string]any)
			all[name] = merge(before, members)
		default:
			all[name] = value
		}
	}
	return all
}

// decoded returns a value with the types that encoding/json uses when it decodes.
func decoded(v any) (out any) {
	text, err := json.Marshal(v)
	if err != nil {
		return v
	}
	_ = json.Unmarshal(text, &out)
	return out
}
