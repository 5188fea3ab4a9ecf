package control

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

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
	m, err := a.knownModel(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, m.answer, nil
}

// knownModel returns the model that a request names. It is called with mu held.
func (a *application) knownModel(r *http.Request) (model, error) {
	m, known := a.models[r.PathValue("template")]
	if !known {
		return model{}, notFound("There is no device template %.200q.", r.PathValue("template"))
	}
	return m, nil
}

func (a *application) putTemplate(r *http.Request, body []byte) (int, any, error) {
	id := r.PathValue("template")
	var given struct {
		DisplayName     string          `json:"displayName"`
		CapabilityModel json.RawMessage `json:"capabilityModel"`
	}
	if err := decode(body, &given, templateExample, false); err != nil {
		return 0, nil, err
	}
	if !strings.HasPrefix(id, "dtmi:") {
		return 0, nil, invalidContent("The ID of a device template must begin with dtmi:, and %.200q does not.", id)
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

// patchTemplate changes a device template by a JSON merge patch (RFC 7396), so that the members that the
// body does not name stay. Source: the reference of IoT Central's REST API 2022-07-31, Device Templates -
// Update.
func (a *application) patchTemplate(r *http.Request, body []byte) (int, any, error) {
	patch := map[string]any{}
	if err := decode(body, &patch, templateExample, false); err != nil {
		return 0, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	m, err := a.knownModel(r)
	if err != nil {
		return 0, nil, err
	}
	old, err := plainJSON(m.answer)
	if err != nil {
		return 0, nil, err
	}
	merged, _ := mergePatch(old, patch).(map[string]any)
	displayName, isText := merged["displayName"].(string)
	if !isText && merged["displayName"] != nil {
		return 0, nil, invalidContent("The displayName of a device template must be a string.")
	}
	capabilityModel, err := json.Marshal(merged["capabilityModel"])
	if err != nil {
		return 0, nil, err
	}
	if m, err = newModel(m.id, displayName, capabilityModel); err != nil {
		return 0, nil, err
	}
	a.models[m.id] = m
	return http.StatusOK, m.answer, nil
}

// plainJSON returns a value as encoding/json decodes it, with numbers as json.Number.
func plainJSON(v any) (plain any, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err = decoder.Decode(&plain)
	return plain, err
}

// mergePatch returns the value that RFC 7396 describes.
func mergePatch(old, patch any) any {
	changes, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	merged, wasObject := old.(map[string]any)
	if !wasObject {
		merged = map[string]any{}
	}
	for name, change := range changes {
		if change == nil {
			delete(merged, name)
		} else {
			merged[name] = mergePatch(merged[name], change)
		}
	}
	return merged
}

// deleteTemplate deletes a device template. Devices that have it may then have any capability.
func (a *application) deleteTemplate(r *http.Request, _ []byte) (int, any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, err := a.knownModel(r)
	if err != nil {
		return 0, nil, err
	}
	delete(a.models, m.id)
	return http.StatusNoContent, nil, nil
}
