package control

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"

	"giantlizard.example/failover/lab/emulator"
)

// twin returns the device twin as a hub shows it.
func (a *application) twin(r *http.Request, _ []byte) (int, any, error) {
	d, err := a.device(r)
	if err != nil {
		return 0, nil, err
	}
	state, status := "Disconnected", "enabled"
	if d.Connected {
		state = "Connected"
	}
	if !d.Enabled {
		status = "disabled"
	}
	version := d.Desired.Version + d.Reported.Version
	return http.StatusOK, map[string]any{
		"deviceId": d.ID, "modelId": d.Model, "version": version,
		"etag":   base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%010d", version)),
		"status": status, "connectionState": state, "cloudToDeviceMessageCount": d.Pending,
		"authenticationType": "sas", "capabilities": map[string]bool{"iotEdge": false}, "tags": map[string]any{},
		"properties": map[string]any{"desired": section(d.Desired, true), "reported": section(d.Reported, false)},
	}, nil
}

// section returns one half of a twin with its metadata. A hub shows versions only for desired
// properties.
func section(s emulator.TwinSection, versions bool) map[string]any {
	all := maps.Clone(s.Properties)
	all["$version"], all["$metadata"] = s.Version, metadata(s.Metadata, versions)
	return all
}

func metadata(m emulator.Metadata, versions bool) map[string]any {
	all := map[string]any{"$lastUpdated": timestamp(m.Updated)}
	if versions {
		all["$lastUpdatedVersion"] = m.Version
	}
	for name, member := range m.Members {
		all[name] = metadata(member, versions)
	}
	return all
}

// purgeQueue deletes the pending cloud-to-device messages of a device.
func (a *application) purgeQueue(r *http.Request, _ []byte) (int, any, error) {
	id := r.PathValue("device")
	purged, err := a.cloud.PurgeMessages(id)
	if err != nil {
		return 0, nil, err
	}
	message := fmt.Sprintf("The queue of cloud-to-device messages of device %s is empty. Messages purged: %d.", id,
		purged)
	return http.StatusOK, map[string]string{"message": message}, nil
}
