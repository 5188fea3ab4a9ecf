package control

import (
	"errors"
	"net/http"

	"giantlizard.example/failover/lab/emulator"
)

// An update is a PUT or PATCH of properties. They reach the device as desired ones.
type update struct {
	desk     *desk
	device   emulator.DeviceInfo
	replaces bool // PUT: what is not named goes
}

func (k *desk) putProperties(r *http.Request, body []byte) (int, any, error) {
	return k.desire(r, body, true)
}

func (k *desk) patchProperties(r *http.Request, body []byte) (int, any, error) {
	return k.desire(r, body, false)
}

func (k *desk) desire(r *http.Request, body []byte, replaces bool) (int, any, error) {
	var given map[string]any
	if err := decode(body, &given, false); err != nil {
		return 0, nil, err
	}
	k.desiring.Lock()
	defer k.desiring.Unlock()
	d, err := k.device(r)
	if err != nil {
		return 0, nil, err
	}
	u := update{k, d, replaces}
	component, desired := r.PathValue("component"), halfOf(d.Desired)
	if component != "" {
		desired = desired.in(component)
	}
	patch, answered, err := u.patch(component, desired, given)
	if err == nil {
		err = k.setDesired(d.ID, component, patch)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, answered, nil
}

// setDesired tells the device, if there is something to tell.
func (k *desk) setDesired(device, component string, patch map[string]any) error {
	if len(patch) == 0 {
		return nil
	}
	if component != "" {
		patch[marker] = "c"
		patch = map[string]any{component: patch}
	}
	err := k.cloud.SetDesired(device, patch)
	if err != nil && !errors.Is(err, emulator.ErrUnknownDevice) && !errors.Is(err, emulator.ErrClosed) {
		err = invalid("%s", sentence(err))
	}
	return err
}

// patch makes a patch of the desired properties, and what IoT Central answers to it.
func (u update) patch(component string, old half, given map[string]any) (patch, answered map[string]any, err error) {
	metadata := map[string]any{}
	patch, answered = map[string]any{}, map[string]any{"$metadata": metadata}
	if u.replaces {
		for name := range old.properties {
			if name != marker {
				patch[name] = nil
			}
		}
	}
	if component != "" {
		delete(given, marker)
	}
	for name, value := range given {
		if members, is := value.(map[string]any); is && component == "" && u.desk.hasComponent(u.device, name) {
			inner, about, err := u.patch(name, old.in(name), members)
			if err != nil {
				return nil, nil, err
			}
			inner[marker] = "c"
			patch[name], answered[name] = inner, about
			continue
		}
		if err := u.writable(place{u.device.ID, component, name}); err != nil {
			return nil, nil, err
		}
		patch[name] = whole(old.properties[name], value)
		metadata[name] = map[string]any{"desiredValue": value}
	}
	return patch, answered, nil
}

// writable asks the template, if it is known.
func (u update) writable(p place) error {
	c, known, err := u.desk.capability(u.device, p)
	switch {
	case p.name == "": // DTDL v2 wants a name, and so a template never has this one
		return invalid("A property without a name is none.")
	case err != nil:
		return invalid("%s", err.Error())
	case known && !c.property:
		return invalid("The template's %.100q is no property.", p.name)
	case known && !c.writable:
		return invalid("The property %.100q is read-only: the device alone sets it.", p.name)
	}
	return nil
}

// whole is the patch that makes one value of the other: an object loses what the new one has not.
func whole(old, value any) any {
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
		patch[name] = whole(before[name], member)
	}
	return patch
}
