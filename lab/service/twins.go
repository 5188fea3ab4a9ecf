package service

import (
	"giantlizard.example/failover/lab/emulator"
)

// A twinBody is the body of a request that changes a twin. Other members of a twin are read-only, and
// ignored, because az sends the whole twin.
type twinBody struct {
	Tags       map[string]any `json:"tags"`
	Properties struct {
		Desired map[string]any `json:"desired"`
	} `json:"properties"`
}

// change returns what the body says. az also sends the metadata and the version of the desired
// properties.
func (b twinBody) change(replace bool) emulator.TwinChange {
	delete(b.Properties.Desired, "$metadata")
	delete(b.Properties.Desired, "$version")
	return emulator.TwinChange{Tags: b.Tags, Desired: b.Properties.Desired, Replace: replace}
}

func (h hub) showTwin(q request) (answer, error) {
	t, err := h.cloud.DeviceTwin(h.endpoint, q.id)
	if err != nil {
		return answer{}, err
	}
	return withETag(twinView(t), t.ETag), nil
}

// patchTwin merges the body into the twin; null deletes a member.
func (h hub) patchTwin(q request) (answer, error) { return h.changeTwin(q, false) }

// replaceTwin replaces the tags and the desired properties.
func (h hub) replaceTwin(q request) (answer, error) { return h.changeTwin(q, true) }

func (h hub) changeTwin(q request, replace bool) (answer, error) {
	var body twinBody
	if err := decode(q.body, &body); err != nil {
		return answer{}, err
	}
	t, err := h.cloud.ChangeTwin(h.endpoint, q.id, matchAny(q.Request), body.change(replace))
	if err != nil {
		return answer{}, err
	}
	return withETag(twinView(t), t.ETag), nil
}

// twinView is a twin as a hub shows it.
func twinView(t emulator.DeviceTwin) map[string]any {
	view := map[string]any{
		"deviceId": t.DeviceID, "etag": t.ETag, "deviceEtag": t.Identity.ETag, "version": t.Version,
		"status": status(t.Identity), "statusUpdateTime": timestamp(t.StatusUpdated),
		"connectionState": connection(t.Identity), "lastActivityTime": timestamp(t.ConnectionUpdated),
		"cloudToDeviceMessageCount": t.Pending, "authenticationType": "sas", "x509Thumbprint": noThumbprint(),
		"modelId": t.Model, "tags": t.Tags, "capabilities": map[string]any{"iotEdge": false},
		"properties": map[string]any{"desired": section(t.Desired, true), "reported": section(t.Reported, false)},
	}
	if t.StatusReason != "" {
		view["statusReason"] = t.StatusReason
	}
	return view
}
