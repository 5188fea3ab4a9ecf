package control

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"giantlizard.example/failover/lab/emulator"
)

// A deviceRecord holds the values that an operator has set for a device.
type deviceRecord struct {
	displayName   string
	template      string
	simulated     bool
	organizations []string
}

// A deviceView is a device as IoT Central shows it.
type deviceView struct {
	ID            string   `json:"id"`
	ETag          string   `json:"etag"`
	DisplayName   string   `json:"displayName"`
	Simulated     bool     `json:"simulated"`
	Provisioned   bool     `json:"provisioned"`
	Template      string   `json:"template,omitempty"`
	Enabled       bool     `json:"enabled"`
	Organizations []string `json:"organizations"`
}

// A deviceUpdate is the body of a PUT or PATCH. The answer to a GET has more members, which
// are read-only. In a PUT or PATCH they are allowed and ignored.
type deviceUpdate struct {
	DisplayName   *string   `json:"displayName"`
	Simulated     *bool     `json:"simulated"`
	Template      *string   `json:"template"`
	Enabled       *bool     `json:"enabled"`
	Organizations *[]string `json:"organizations"`
}

// device returns the device that a request names.
func (a *application) device(r *http.Request) (emulator.DeviceInfo, error) {
	return a.cloud.Device(r.PathValue("device"))
}

// representation returns the view of a device. It is called with mu held.
func (a *application) representation(d emulator.DeviceInfo) deviceView {
	r := a.deviceRecords[d.ID]
	view := deviceView{
		ID: d.ID, DisplayName: cmp.Or(r.displayName, d.ID), Simulated: r.simulated, Provisioned: d.Hub != "",
		Template: a.templateOf(d), Enabled: d.Enabled, Organizations: append([]string{}, r.organizations...),
	}
	sum := sha256.Sum256(fmt.Append(nil, view))
	view.ETag = base64.StdEncoding.EncodeToString(sum[:12])
	return view
}

func (a *application) listDevices(r *http.Request, _ []byte) (int, any, error) {
	for _, unknown := range []string{"$filter", "$top", "$orderby"} {
		if r.URL.Query().Has(unknown) {
			return 0, nil, notImplemented(r, "it always lists all devices. Leave %s out; "+
				"az sends $filter for --edge-only", unknown)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	all := []deviceView{}
	for _, d := range a.cloud.Devices() {
		all = append(all, a.representation(d))
	}
	return http.StatusOK, map[string]any{"value": all}, nil
}

func (a *application) showDevice(r *http.Request, _ []byte) (int, any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, err := a.device(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, a.representation(d), nil
}

// putDevice creates a device, or replaces all values that an operator has set for it.
func (a *application) putDevice(r *http.Request, body []byte) (int, any, error) {
	enabled := true
	update := deviceUpdate{Enabled: &enabled}
	if err := decode(body, &update, deviceExample, false); err != nil {
		return 0, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.device(r); errors.Is(err, emulator.ErrUnknownDevice) {
		if err := a.cloud.Enroll(r.PathValue("device"), ""); err != nil {
			return 0, nil, invalidContent("%s", sentence(err))
		}
	}
	return a.applyUpdate(r, deviceRecord{}, update)
}

func (a *application) patchDevice(r *http.Request, body []byte) (int, any, error) {
	var update deviceUpdate
	if err := decode(body, &update, deviceExample, false); err != nil {
		return 0, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.applyUpdate(r, a.deviceRecords[r.PathValue("device")], update)
}

// applyUpdate changes a device. It is called with mu held.
func (a *application) applyUpdate(r *http.Request, changed deviceRecord, update deviceUpdate) (int, any, error) {
	d, err := a.device(r)
	if err == nil && update.Enabled != nil && *update.Enabled != d.Enabled {
		err = a.setEnabled(d.ID, *update.Enabled)
	}
	if err != nil {
		return 0, nil, err
	}
	setIfGiven(&changed.displayName, update.DisplayName)
	setIfGiven(&changed.template, update.Template)
	setIfGiven(&changed.simulated, update.Simulated)
	setIfGiven(&changed.organizations, update.Organizations)
	a.deviceRecords[d.ID] = changed
	if d, err = a.device(r); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, a.representation(d), nil
}

// setIfGiven copies given to value, unless given is nil.
func setIfGiven[T any](value, given *T) {
	if given != nil {
		*value = *given
	}
}

// setEnabled enables a device by clearing the faults blocked and disabled, or injects blocked.
func (a *application) setEnabled(id string, enabled bool) error {
	if !enabled {
		return a.cloud.Inject(targetOf(id), emulator.Blocked, emulator.Params{})
	}
	return errors.Join(a.cloud.Clear(targetOf(id), emulator.Blocked), a.cloud.Clear(targetOf(id), emulator.Disabled))
}

// targetOf returns a target that means the device even if a hub has the same name.
func targetOf(id string) string { return emulator.TargetDevice + "/" + id }

// deleteDevice deletes a device. A device that registers again is a new device.
func (a *application) deleteDevice(r *http.Request, _ []byte) (int, any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, err := a.device(r)
	if err == nil {
		err = a.cloud.DeleteDevice(d.ID)
	}
	if err != nil {
		return 0, nil, err
	}
	a.values.readLedger(a.cloud) // so that old telemetry of the device is not read after its deletion
	a.forgetDevice(d.ID)
	return http.StatusNoContent, nil, nil
}

// credentials returns the ID scope and the key of a device. A device of the emulator has only one
// key.
func (a *application) credentials(r *http.Request, _ []byte) (int, any, error) {
	key, err := a.cloud.DeviceKey(r.PathValue("device"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{
		"idScope": a.cloud.IDScope(), "symmetricKey": map[string]string{"primaryKey": key, "secondaryKey": key},
	}, nil
}

// components returns the components in the template of a device.
func (a *application) components(r *http.Request, _ []byte) (int, any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, err := a.device(r)
	if err != nil {
		return 0, nil, err
	}
	all := []any{}
	for _, name := range sortedKeys(a.models[a.templateOf(d)].parts) {
		all = append(all, map[string]string{"@type": "Component", "name": name, "displayName": name})
	}
	return http.StatusOK, map[string]any{"value": all}, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
