package control

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"slices"

	"giantlizard.example/failover/lab/emulator"
)

// sampleModel is the model of the sample device. The application knows it from the start.
//
//go:generate cp ../../failover.json failover.json
//go:embed failover.json
var sampleModel []byte

// A model holds the capabilities of a device template, which is written in DTDL.
type model struct {
	id     string
	answer map[string]any // the device template as JSON
	root   capabilities
	// parts holds the capabilities by component. Nil capabilities mean that the template does not
	// contain the component's interface, so that the component may have any capability.
	parts map[string]capabilities
}

type capabilities map[string]capability

type capability struct{ telemetry, command, property, writable, durable bool }

// An entry is one entry in the contents of an interface.
type entry struct {
	Type           any             `json:"@type"` // a string or a list of strings
	Name           string          `json:"name"`
	Writable       bool            `json:"writable"`
	Durable        bool            `json:"durable"`        // the command is queued for an offline device
	QueueIfOffline bool            `json:"queueIfOffline"` // another name of durable
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
	_ = json.Unmarshal(sampleModel, &names) // cannot fail, because a test checks the file
	m, _ := newModel(names.ID, names.DisplayName, sampleModel)
	return m
}

func newModel(id, displayName string, capabilityModel json.RawMessage) (model, error) {
	root, parts, err := capabilitiesOf(capabilityModel)
	if err != nil {
		return model{}, err
	}
	return model{id: id, root: root, parts: parts, answer: map[string]any{
		"@id": id, "@type": []string{"ModelDefinition", "DeviceModel"}, "displayName": displayName,
		"capabilityModel": capabilityModel,
	}}, nil
}

// capabilitiesOf returns the capabilities of an interface. It ignores interfaces that are only
// referenced by name.
func capabilitiesOf(text json.RawMessage) (capabilities, map[string]capabilities, error) {
	var described struct {
		Contents []entry `json:"contents"`
	}
	if err := json.Unmarshal(text, &described); err != nil || described.Contents == nil {
		return nil, nil, invalidContent("The capabilityModel is not an interface with contents, such as %s.",
			modelExample)
	}
	root, parts := capabilities{}, map[string]capabilities{}
	for _, e := range described.Contents {
		if e.is("Component") {
			parts[e.Name], _, _ = capabilitiesOf(e.Schema) // nil if the schema is only a name
			continue
		}
		root[e.Name] = capability{
			telemetry: e.is("Telemetry"), command: e.is("Command"), property: e.is("Property"),
			writable: e.Writable, durable: e.Durable || e.QueueIfOffline,
		}
	}
	return root, parts, nil
}

// templateOf returns the ID of a device's template: the one that the operator has set, or the model
// that the device sent. It is called with mu held.
func (a *application) templateOf(d emulator.DeviceInfo) string {
	return cmp.Or(a.deviceRecords[d.ID].template, d.Model)
}

// capability looks a name up in the template of a device. known is false if the template or the
// interface of the component is unknown; then the device may have any capability.
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
