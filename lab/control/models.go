package control

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

// sample is the model of the sample device, so that its commands and properties are known from the start.
//
//go:generate cp ../../failover.json failover.json
//go:embed failover.json
var sampleModel []byte

// A model is what a device of it can do, as DTDL says it.
type model struct {
	id     string
	answer map[string]any // the device template
	root   capabilities
	parts  map[string]capabilities // components; one whose interface is elsewhere is nil: it may have anything
}

type capabilities map[string]capability

type capability struct{ telemetry, command, property, writable, durable bool }

// An entry is one of an interface's contents.
type entry struct {
	Type           any             `json:"@type"` // a word or several
	Name           string          `json:"name"`
	Writable       bool            `json:"writable"`
	Durable        bool            `json:"durable"`        // IoT Central's word for a command that
	QueueIfOffline bool            `json:"queueIfOffline"` // waits for the device, and its other word
	Schema         json.RawMessage `json:"schema"`
}

func (e entry) is(kind string) bool {
	all, several := e.Type.([]any)
	return e.Type == kind || several && slices.Contains(all, any(kind))
}

func parseSample() model {
	var names struct {
		ID          string `json:"@id"`
		DisplayName string `json:"displayName"`
	}
	_ = json.Unmarshal(sampleModel, &names) // a test reads it
	m, _ := newModel(names.ID, names.DisplayName, sampleModel)
	return m
}

func newModel(id, displayName string, capabilityModel json.RawMessage) (model, error) {
	root, parts, err := capabilitiesOf(capabilityModel)
	if err != nil {
		return model{}, err
	}
	return model{id: id, root: root, parts: parts, answer: map[string]any{
		"@id": id, "@type": []string{"ModelDefinition", "DeviceModel"}, "displayName": displayName, "capabilityModel": capabilityModel,
	}}, nil
}

// capabilitiesOf reads an interface, without those that it extends by their names alone.
func capabilitiesOf(text json.RawMessage) (capabilities, map[string]capabilities, error) {
	var described struct {
		Contents []entry `json:"contents"`
	}
	if err := json.Unmarshal(text, &described); err != nil || described.Contents == nil {
		return nil, nil, invalidContent("The capabilityModel is no interface with contents.")
	}
	root, parts := capabilities{}, map[string]capabilities{}
	for _, e := range described.Contents {
		if e.is("Component") {
			parts[e.Name], _, _ = capabilitiesOf(e.Schema) // a name alone is an interface elsewhere
			continue
		}
		root[e.Name] = capability{e.is("Telemetry"), e.is("Command"), e.is("Property"), e.Writable, e.Durable || e.QueueIfOffline}
	}
	return root, parts, nil
}

// templateOf is the ID of a device's template: the operator's choice, or what the device says. It is called with k.mu held.
func (a *application) templateOf(d emulator.DeviceInfo) string {
	return cmp.Or(a.deviceRecords[d.ID].template, d.Model)
}

// capability finds what a device's template says of a name. Of a template that is not known, anything may be true: then known is
// false.
func (a *application) capability(d emulator.DeviceInfo, p capabilityName) (c capability, known bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	template := a.templateOf(d)
	m, known := a.models[template]
	if !known {
		return capability{}, false, nil
	}
	all, where := m.root, template
	if p.component != "" {
		if all, known = m.parts[p.component]; !known {
			return capability{}, false, notFound("The template %s has no component %.100q.", template, p.component)
		}
		if all == nil {
			return capability{}, false, nil
		}
		where = "component " + p.component + " of " + template
	}
	if c, known = all[p.name]; !known {
		return capability{}, false, notFound("The template %s has no %.100q.", where, p.name)
	}
	return c, true, nil
}

func (a *application) templates(*http.Request, []byte) (int, any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := []any{}
	for _, id := range sortedKeys(a.models) {
		all = append(all, a.models[id].answer)
	}
	return http.StatusOK, map[string]any{"value": all}, nil
}

func (a *application) template(r *http.Request, _ []byte) (int, any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, known := a.models[r.PathValue("template")]
	if !known {
		return 0, nil, notFound("There is no device template %.200q.", r.PathValue("template"))
	}
	return http.StatusOK, m.answer, nil
}

func (a *application) putTemplate(r *http.Request, body []byte) (int, any, error) {
	id := r.PathValue("template")
	var given struct {
		DisplayName     string          `json:"displayName"`
		CapabilityModel json.RawMessage `json:"capabilityModel"`
	}
	if err := decode(body, &given, false); err != nil {
		return 0, nil, err
	}
	if !strings.HasPrefix(id, "dtmi:") {
		return 0, nil, invalidContent("The ID of a device template begins with dtmi:, and %.200q does not.", id)
	}
	m, err := newModel(id, given.DisplayName, given.CapabilityModel)
	if err != nil {
		return 0, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.models[id] = m
	return http.StatusOK, m.answer, nil
}
