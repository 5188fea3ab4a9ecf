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

// A record is what an operator says of a device. The zero value says nothing.
type record struct {
	displayName   string
	template      string
	simulated     bool
	organizations []string
}

// A deviceAnswer is a device as IoT Central shows it.
type deviceAnswer struct {
	ID            string   `json:"id"`
	ETag          string   `json:"etag"`
	DisplayName   string   `json:"displayName"`
	Simulated     bool     `json:"simulated"`
	Provisioned   bool     `json:"provisioned"`
	Template      string   `json:"template,omitempty"`
	Enabled       bool     `json:"enabled"`
	Organizations []string `json:"organizations"`
}

// A deviceWish is the body of a PUT or PATCH. What else GET answers is read-only, and may stand there too.
type deviceWish struct {
	DisplayName   *string   `json:"displayName"`
	Simulated     *bool     `json:"simulated"`
	Template      *string   `json:"template"`
	Enabled       *bool     `json:"enabled"`
	Organizations *[]string `json:"organizations"`
}

// device is the one that a request is about.
func (k *desk) device(r *http.Request) (emulator.DeviceInfo, error) {
	return k.cloud.Device(r.PathValue("device"))
}

// shown is called with k.mu held.
func (k *desk) shown(d emulator.DeviceInfo) deviceAnswer {
	r := k.records[d.ID]
	a := deviceAnswer{
		ID: d.ID, DisplayName: cmp.Or(r.displayName, d.ID), Simulated: r.simulated, Provisioned: d.Hub != "",
		Template: k.templateOf(d), Enabled: d.Enabled, Organizations: append([]string{}, r.organizations...),
	}
	sum := sha256.Sum256(fmt.Append(nil, a))
	a.ETag = base64.StdEncoding.EncodeToString(sum[:12])
	return a
}

func (k *desk) list(r *http.Request, _ []byte) (int, any, error) {
	for _, unknown := range []string{"$filter", "$top", "$orderby"} {
		if r.URL.Query().Has(unknown) {
			return 0, nil, &problem{http.StatusBadRequest, "InvalidParameter", "The emulator lists all devices; it knows no " + unknown + "."}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	all := []deviceAnswer{}
	for _, d := range k.cloud.Devices() {
		all = append(all, k.shown(d))
	}
	return http.StatusOK, map[string]any{"value": all}, nil
}

func (k *desk) show(r *http.Request, _ []byte) (int, any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, err := k.device(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, k.shown(d), nil
}

// put makes a device, or says anew all that is said of it.
func (k *desk) put(r *http.Request, body []byte) (int, any, error) {
	enabled := true
	wish := deviceWish{Enabled: &enabled}
	if err := decode(body, &wish, false); err != nil {
		return 0, nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := k.device(r); errors.Is(err, emulator.ErrUnknownDevice) {
		if err := k.cloud.Enroll(r.PathValue("device"), ""); err != nil {
			return 0, nil, invalid("%s", sentence(err))
		}
	}
	return k.apply(r, record{}, wish)
}

func (k *desk) patch(r *http.Request, body []byte) (int, any, error) {
	var wish deviceWish
	if err := decode(body, &wish, false); err != nil {
		return 0, nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.apply(r, k.records[r.PathValue("device")], wish)
}

// apply is called with k.mu held.
func (k *desk) apply(r *http.Request, changed record, wish deviceWish) (int, any, error) {
	d, err := k.device(r)
	if err == nil && wish.Enabled != nil && *wish.Enabled != d.Enabled {
		err = k.enable(d.ID, *wish.Enabled)
	}
	if err != nil {
		return 0, nil, err
	}
	set(&changed.displayName, wish.DisplayName)
	set(&changed.template, wish.Template)
	set(&changed.simulated, wish.Simulated)
	set(&changed.organizations, wish.Organizations)
	k.records[d.ID] = changed
	if d, err = k.device(r); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, k.shown(d), nil
}

func set[T any](value *T, wish *T) {
	if wish != nil {
		*value = *wish
	}
}

// enable blocks a device or lets it in again.
func (k *desk) enable(id string, enabled bool) error {
	if !enabled {
		return k.cloud.Inject(targetOf(id), emulator.Blocked, emulator.Params{})
	}
	return errors.Join(k.cloud.Clear(targetOf(id), emulator.Blocked), k.cloud.Clear(targetOf(id), emulator.Disabled))
}

// targetOf is a device as the lizard takes it, even one that has a hub's name.
func targetOf(id string) string { return emulator.TargetDevice + "/" + id }

// delete forgets a device. If it registers again, it is a new one.
func (k *desk) delete(r *http.Request, _ []byte) (int, any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, err := k.device(r)
	if err == nil {
		err = k.cloud.DeleteDevice(d.ID)
	}
	if err != nil {
		return 0, nil, err
	}
	k.values.follow(k.cloud.Ledger()) // what it sent is read now or never
	k.forget(d.ID)
	return http.StatusNoContent, nil, nil
}

// credentials are those of the device. It has one key, which stands for both.
func (k *desk) credentials(r *http.Request, _ []byte) (int, any, error) {
	key, err := k.cloud.DeviceKey(r.PathValue("device"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{
		"idScope": k.cloud.IDScope(), "symmetricKey": map[string]string{"primaryKey": key, "secondaryKey": key},
	}, nil
}

// components are those of the device's template.
func (k *desk) components(r *http.Request, _ []byte) (int, any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, err := k.device(r)
	if err != nil {
		return 0, nil, err
	}
	all := []any{}
	for _, name := range sortedKeys(k.models[k.templateOf(d)].parts) {
		all = append(all, map[string]string{"@type": "Component", "name": name, "displayName": name})
	}
	return http.StatusOK, map[string]any{"value": all}, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
