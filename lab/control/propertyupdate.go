package control

import (
	"errors"
	"net/http"

	"giantlizard.example/failover/lab/emulator"
)

// An update is a PUT or PATCH of properties. It changes the desired properties of the device.
type update struct {
	application *application
	device      emulator.DeviceInfo
	replace     bool // the request is a PUT, which deletes the properties that the body does not name
}

func (a *application) putProperties(r *http.Request, body []byte) (int, any, error) {
	return a.updateProperties(r, body, true)
}

func (a *application) patchProperties(r *http.Request, body []byte) (int, any, error) {
	return a.updateProperties(r, body, false)
}

func (a *application) updateProperties(r *http.Request, body []byte, replaces bool) (int, any, error) {
	var given map[string]any
	if err := decode(body, &given, propertiesExample, false); err != nil {
		return 0, nil, err
	}
	a.desiredMu.Lock()
	defer a.desiredMu.Unlock()
	d, err := a.device(r)
	if err != nil {
		return 0, nil, err
	}
	u := update{a, d, replaces}
	component, desired := r.PathValue("component"), newTwinHalf(d.Desired)
	if component != "" {
		desired = desired.component(component)
	}
	patch, answered, err := u.patch(component, desired, given)
	if err == nil {
		err = a.setDesired(d.ID, component, patch)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, answered, nil
}

// setDesired changes the desired properties, unless the patch is empty.
func (a *application) setDesired(device, component string, patch map[string]any) error {
	if len(patch) == 0 {
		return nil
	}
	if component != "" {
		patch[componentMarker] = "c"
		patch = map[string]any{component: patch}
	}
	err := a.cloud.SetDesired(device, patch)
	if err != nil && !errors.Is(err, emulator.ErrUnknownDevice) && !errors.Is(err, emulator.ErrClosed) {
		err = invalidContent("%s", sentence(err))
	}
	return err
}

// patch returns the patch of the desired properties, and IoT Central's answer.
func (u update) patch(
	component string, old twinHalf, given map[string]any,
) (patch, answered map[string]any, err error) {
	metadata := map[string]any{}
	patch, answered = map[string]any{}, map[string]any{"$metadata": metadata}
	if u.replace {
		for name := range old.properties {
			if name != componentMarker {
				patch[name] = nil
			}
		}
	}
	if component != "" {
		delete(given, componentMarker)
	}
	for name, value := range given {
		members, isObject := value.(map[string]any)
		if isObject && component == "" && u.application.hasComponent(u.device, name) {
			inner, about, err := u.patch(name, old.component(name), members)
			if err != nil {
				return nil, nil, err
			}
			inner[componentMarker] = "c"
			patch[name], answered[name] = inner, about
			continue
		}
		if err := u.writable(capabilityName{u.device.ID, component, name}); err != nil {
			return nil, nil, err
		}
		patch[name] = replacement(old.properties[name], value)
		metadata[name] = map[string]any{"desiredValue": value}
	}
	return patch, answered, nil
}

// writable returns an error if the template is known and the property is not writable in it.
func (u update) writable(p capabilityName) error {
	c, known, err := u.application.capability(u.device, p)
	switch {
	case p.name == "": // DTDL v2 requires a name
		return invalidContent("A property needs a name.")
	case err != nil:
		return invalidContent("%s", err.Error())
	case known && !c.property:
		return invalidContent("In the template, %.100q is not a property.", p.name)
	case known && !c.writable:
		return invalidContent("The property %.100q is read-only: only the device sets it.", p.name)
	}
	return nil
}

// replacement returns the patch that replaces old by value. If both are objects, the patch deletes
// the members that the new object lacks.
func replacement(old, value any) any {
	members, isObject := value.(map[string]any)
	before, wasObject := old.(map[string]any)
	if !isObject || !wasObject {
		return value
	}
	patch := map[string]any{}
	for name := range before {
		patch[name] = nil
	}
	for name, member := range members {
		patch[name] = replacement(before[name], member)
	}
	return patch
}
