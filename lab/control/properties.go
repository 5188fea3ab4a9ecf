package control

import (
	"encoding/json"
	"net/http"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// timestamp formats a time as the services do.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000Z") }

// A twinHalf holds the desired or the reported properties of a twin or of a component.
type twinHalf struct {
	properties map[string]any
	metadata   emulator.Metadata
}

func newTwinHalf(s emulator.TwinSection) twinHalf { return twinHalf{s.Properties, s.Metadata} }

func (h twinHalf) component(component string) twinHalf {
	properties, _ := h.properties[component].(map[string]any)
	return twinHalf{properties, h.metadata.Members[component]}
}

// componentMarker is the member that marks an object as a component.
const componentMarker = "__t"

func (h twinHalf) hasComponent(name string) bool {
	object, _ := h.properties[name].(map[string]any)
	return object[componentMarker] == "c"
}

// propertiesView returns properties as IoT Central shows them: the reported values, and the desired
// values and acknowledgements as metadata.
func propertiesView(desired, reported twinHalf) map[string]any {
	metadata := map[string]any{}
	shown := map[string]any{"$metadata": metadata}
	for name, value := range reported.properties {
		switch {
		case name == componentMarker:
		case reported.hasComponent(name):
			shown[name] = propertiesView(desired.component(name), reported.component(name))
		default:
			about := map[string]any{"lastUpdateTime": timestamp(reported.metadata.Members[name].Updated)}
			if ack, isAck := acknowledgement(value); isAck {
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
				shown[name] = propertiesView(desired.component(name), twinHalf{})
			}
			continue
		}
		if name == componentMarker {
			continue
		}
		set := desired.metadata.Members[name]
		about, _ := metadata[name].(map[string]any)
		if about == nil {
			about = map[string]any{"lastUpdateTime": timestamp(set.Updated)}
			metadata[name] = about
		}
		about["desiredValue"], about["desiredVersion"] = value, set.Version
	}
	return shown
}

// acknowledgement returns a value as an object, and reports whether it is a property acknowledgement:
// {"value":…,"ac":200,"av":3,"ad":"…"}.
func acknowledgement(value any) (map[string]any, bool) {
	object, _ := value.(map[string]any)
	_, code := object["ac"].(json.Number)
	_, version := object["av"].(json.Number)
	_, given := object["value"]
	return object, code && version && given
}

func (a *application) properties(r *http.Request, _ []byte) (int, any, error) {
	d, err := a.device(r)
	if err != nil {
		return 0, nil, err
	}
	desired, reported := newTwinHalf(d.Desired), newTwinHalf(d.Reported)
	if name := r.PathValue("component"); name != "" {
		if !a.hasComponent(d, name) {
			return 0, nil, notFound("Device %s has no component %.100q.", d.ID, name)
		}
		desired, reported = desired.component(name), reported.component(name)
	}
	return http.StatusOK, propertiesView(desired, reported), nil
}

// hasComponent reports whether the twin or the template of a device has a component.
func (a *application) hasComponent(d emulator.DeviceInfo, name string) bool {
	if newTwinHalf(d.Desired).hasComponent(name) || newTwinHalf(d.Reported).hasComponent(name) {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, known := a.models[a.templateOf(d)].parts[name]
	return known
}
