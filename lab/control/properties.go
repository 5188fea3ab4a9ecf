package control

import (
	"encoding/json"
	"net/http"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// timestamp is how the services write a time.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// A half is the desired or the reported side of a twin, or of a component in it.
type half struct {
	properties map[string]any
	metadata   emulator.Metadata
}

func halfOf(s emulator.TwinSection) half { return half{s.Properties, s.Metadata} }

func (h half) in(component string) half {
	properties, _ := h.properties[component].(map[string]any)
	return half{properties, h.metadata.Members[component]}
}

// marker is the member that makes an object a component.
const marker = "__t"

func (h half) hasComponent(name string) bool {
	object, _ := h.properties[name].(map[string]any)
	return object[marker] == "c"
}

// view is how IoT Central shows both halves: what the device reports, and beside it what was desired and acknowledged.
func view(desired, reported half) map[string]any {
	metadata := map[string]any{}
	shown := map[string]any{"$metadata": metadata}
	for name, value := range reported.properties {
		switch {
		case name == marker:
		case reported.hasComponent(name):
			shown[name] = view(desired.in(name), reported.in(name))
		default:
			about := map[string]any{"lastUpdateTime": timestamp(reported.metadata.Members[name].Updated)}
			if ack, is := acknowledgement(value); is {
				value = ack["value"]
				about["ackCode"], about["ackVersion"] = ack["ac"], ack["av"]
				if text, given := ack["ad"]; given {
					about["ackDescription"] = text
				}
			}
			shown[name], metadata[name] = value, about
		}
	}
	for name, value := range desired.properties {
		if desired.hasComponent(name) || reported.hasComponent(name) {
			if shown[name] == nil {
				shown[name] = view(desired.in(name), half{})
			}
			continue
		}
		if name == marker {
			continue
		}
		wish := desired.metadata.Members[name]
		about, _ := metadata[name].(map[string]any)
		if about == nil {
			about = map[string]any{"lastUpdateTime": timestamp(wish.Updated)}
			metadata[name] = about
		}
		about["desiredValue"], about["desiredVersion"] = value, wish.Version
	}
	return shown
}

// acknowledgement recognises {"value":…,"ac":200,"av":3,"ad":"…"}.
func acknowledgement(value any) (map[string]any, bool) {
	object, _ := value.(map[string]any)
	_, code := object["ac"].(json.Number)
	_, version := object["av"].(json.Number)
	_, given := object["value"]
	return object, code && version && given
}

func (k *desk) properties(r *http.Request, _ []byte) (int, any, error) {
	d, err := k.device(r)
	if err != nil {
		return 0, nil, err
	}
	desired, reported := halfOf(d.Desired), halfOf(d.Reported)
	if name := r.PathValue("component"); name != "" {
		if !k.hasComponent(d, name) {
			return 0, nil, notFound("Device %s has no component %.100q.", d.ID, name)
		}
		desired, reported = desired.in(name), reported.in(name)
	}
	return http.StatusOK, view(desired, reported), nil
}

// hasComponent asks the twin, and the template if it is known.
func (k *desk) hasComponent(d emulator.DeviceInfo, name string) bool {
	if halfOf(d.Desired).hasComponent(name) || halfOf(d.Reported).hasComponent(name) {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	_, known := k.models[k.templateOf(d)].parts[name]
	return known
}
