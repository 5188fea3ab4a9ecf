package service

import (
	"net/http"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

const maximumDevices = 1000 // devices in one answer: the REST reference (Devices, Get Devices)

// A deviceBody is the body of a request that creates or changes a device. Other members of a device
// are read-only, and ignored.
type deviceBody struct {
	DeviceID       *string `json:"deviceId"`
	Status         string  `json:"status"`
	StatusReason   string  `json:"statusReason"`
	Authentication struct {
		Type         string `json:"type"`
		SymmetricKey struct {
			PrimaryKey   string `json:"primaryKey"`
			SecondaryKey string `json:"secondaryKey"`
		} `json:"symmetricKey"`
	} `json:"authentication"`
	Capabilities struct {
		IoTEdge bool `json:"iotEdge"`
	} `json:"capabilities"`
	DeviceScope  string   `json:"deviceScope"`
	ParentScopes []string `json:"parentScopes"`
}

// change returns what the body says of the device of a request.
func (b deviceBody) change(id string) (emulator.IdentityChange, error) {
	notEmulated := func(what string) error {
		return &problem{http.StatusNotImplemented, 501001, "NotImplemented", what}
	}
	none := emulator.IdentityChange{}
	switch authentication := b.Authentication.Type; {
	case b.DeviceID != nil && *b.DeviceID != id:
		return none, invalid("The deviceId of the body is not the device of the path.")
	case !strings.EqualFold(b.Status, "enabled") && !strings.EqualFold(b.Status, "disabled") && b.Status != "":
		return none, invalid("The status is neither enabled nor disabled.")
	case strings.EqualFold(authentication, "selfSigned"), strings.EqualFold(authentication, "certificateAuthority"):
		return none, notEmulated("A device of the emulator has symmetric keys: it has no certificates yet.")
	case !strings.EqualFold(authentication, "sas") && authentication != "":
		return none, invalid("The type of authentication is not sas.")
	case b.Capabilities.IoTEdge:
		return none, notEmulated("The emulator has no IoT Edge devices.")
	case b.DeviceScope != "" || len(b.ParentScopes) > 0:
		return none, notEmulated("The emulator has no parents of devices, because it has no IoT Edge devices.")
	}
	keys := b.Authentication.SymmetricKey
	return emulator.IdentityChange{
		PrimaryKey: keys.PrimaryKey, SecondaryKey: keys.SecondaryKey, StatusReason: b.StatusReason,
		Disabled: strings.EqualFold(b.Status, "disabled"),
	}, nil
}

// putDevice creates a device, or changes it if the request has the header If-Match: the REST reference
// (Devices, Create Or Update Identity).
func (h hub) putDevice(q request) (answer, error) {
	var body deviceBody
	if err := decode(q.body, &body); err != nil {
		return answer{}, err
	}
	change, err := body.change(q.id)
	if err != nil {
		return answer{}, err
	}
	var d emulator.Identity
	if q.Header.Get("If-Match") == "" {
		d, err = h.cloud.CreateIdentity(h.endpoint, q.id, change)
	} else {
		d, err = h.cloud.UpdateIdentity(h.endpoint, q.id, matchAny(q.Request), change)
	}
	if err != nil {
		return answer{}, err
	}
	return withETag(deviceView(d), d.ETag), nil
}

func (h hub) showDevice(q request) (answer, error) {
	d, err := h.cloud.Identity(h.endpoint, q.id)
	if err != nil {
		return answer{}, err
	}
	return withETag(deviceView(d), d.ETag), nil
}

func (h hub) listDevices(q request) (answer, error) {
	limit, err := top(q.URL.Query().Get("top"), maximumDevices)
	if err != nil {
		return answer{}, err
	}
	shown := []any{}
	for _, d := range h.cloud.Identities(h.endpoint) {
		if len(shown) < limit {
			shown = append(shown, deviceView(d))
		}
	}
	return answer{status: http.StatusOK, value: shown}, nil
}

func (h hub) deleteDevice(q request) (answer, error) {
	if err := h.cloud.DeleteIdentity(h.endpoint, q.id, matchAny(q.Request)); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, nil
}

// deviceView is a device as a hub shows it.
func deviceView(d emulator.Identity) map[string]any {
	return map[string]any{
		"deviceId": d.DeviceID, "generationId": d.Generation, "etag": d.ETag,
		"status": status(d), "statusReason": orNull(d.StatusReason), "statusUpdatedTime": timestamp(d.StatusUpdated),
		"connectionState": connection(d), "connectionStateUpdatedTime": timestamp(d.ConnectionUpdated),
		"lastActivityTime": timestamp(d.ConnectionUpdated), "cloudToDeviceMessageCount": d.Pending,
		"authentication": map[string]any{
			"type":           "sas",
			"symmetricKey":   map[string]string{"primaryKey": d.PrimaryKey, "secondaryKey": d.SecondaryKey},
			"x509Thumbprint": noThumbprint(),
		},
		"capabilities": map[string]bool{"iotEdge": false},
	}
}

func noThumbprint() map[string]any {
	return map[string]any{"primaryThumbprint": nil, "secondaryThumbprint": nil}
}

func status(d emulator.Identity) string {
	if d.Enabled {
		return "enabled"
	}
	return "disabled"
}

func connection(d emulator.Identity) string {
	if d.Connected {
		return "Connected"
	}
	return "Disconnected"
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// renewKeys makes new keys for up to 100 devices, which az iot hub device-identity renew-key asks for.
func (h hub) renewKeys(q request) (answer, error) {
	var body struct {
		PolicyKey string `json:"policyKey"`
		Devices   []struct {
			ID       string `json:"id"`
			ModuleID string `json:"moduleId"`
		} `json:"devices"`
	}
	if err := decode(q.body, &body); err != nil {
		return answer{}, err
	}
	which := strings.ToLower(body.PolicyKey)
	primary := which == "primarykey" || which == "bothkeys" || which == "both"
	secondary := which == "secondarykey" || which == "bothkeys" || which == "both"
	if !primary && !secondary || len(body.Devices) == 0 || len(body.Devices) > 100 {
		return answer{}, invalid("The policyKey is not primaryKey, secondaryKey or both, or there are not 1 to 100 " +
			"devices.")
	}
	rotated, failed := []any{}, []any{}
	for _, item := range body.Devices {
		if item.ModuleID == "" {
			d, err := h.cloud.RenewKeys(h.endpoint, item.ID, primary, secondary)
			if err == nil {
				rotated = append(rotated, map[string]any{
					"id": d.DeviceID, "moduleId": nil, "primaryKey": d.PrimaryKey, "secondaryKey": d.SecondaryKey,
				})
				continue
			}
		}
		failed = append(failed, map[string]any{
			"id": item.ID, "moduleId": orNull(item.ModuleID), "errorCode": "DeviceNotFound",
			"errorStatus": "There is no such device at this hub, or it is a module.",
		})
	}
	status := http.StatusOK
	if len(failed) > 0 {
		status = http.StatusMultiStatus
		if len(rotated) == 0 {
			status = http.StatusBadRequest
		}
	}
	return answer{status: status, value: map[string]any{
		"policyKey": body.PolicyKey, "rotatedKeys": rotated, "errors": failed,
	}}, nil
}
