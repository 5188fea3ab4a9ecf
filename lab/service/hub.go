package service

import (
	"errors"
	"net/http"
	"strconv"

	"giantlizard.example/failover/lab/emulator"
)

// hubVersions are the versions of the hub's service API, newest first. Source: the REST reference,
// azure-iot-cli-extension (2024-03-31), Microsoft's SDKs for Node, Python, C# and Java (2021-04-12,
// 2020-09-30), and azure-rest-api-specs for the older ones.
var hubVersions = []string{
	"2024-03-31", "2021-04-12", "2021-11-30", "2020-09-30", "2020-05-31-preview", "2020-03-13", "2020-03-01",
	"2019-10-01", "2019-07-01-preview", "2019-03-30", "2018-06-30", "2018-04-01", "2017-11-08-preview",
	"2017-06-30", "2016-11-14",
}

// hub is the service API of one hub.
type hub struct{ *api }

func newHub(cloud *emulator.Cloud, name string) *api {
	a := &api{cloud: cloud, endpoint: name, versions: hubVersions, write: writeHubError, toError: toHubError}
	h := hub{a}
	const modules = "The emulator has no modules."
	const jobs = "The emulator has no jobs: call the devices one by one."
	const configurations = "The emulator has no configurations and no IoT Edge."
	const device = "A device of the emulator speaks MQTT only, not HTTPS."
	const feedback = "The emulator has no feedback about cloud-to-device messages."
	const digitalTwins = "The emulator has no digital twins: use the device twin, and direct methods for commands."
	a.routes = []route{
		{"/devices", map[string]handler{"GET": h.listDevices, "POST": notEmulated(
			"The emulator changes device identities one by one, not in bulk.")}},
		{"/devices/query", map[string]handler{"POST": h.query}},
		{"/devices/keys/regenerate", map[string]handler{"POST": h.renewKeys}},
		{"/devices/{id}", map[string]handler{
			"GET": h.showDevice, "PUT": h.putDevice, "DELETE": h.deleteDevice,
		}},
		{"/devices/{id}/commands", map[string]handler{"DELETE": h.purge}},
		{"/twins/{id}", map[string]handler{"GET": h.showTwin, "PATCH": h.patchTwin, "PUT": h.replaceTwin}},
		{"/twins/{id}/methods", map[string]handler{"POST": h.invoke}},
		{"/statistics/devices", map[string]handler{"GET": h.deviceStatistics}},
		{"/statistics/service", map[string]handler{"GET": h.serviceStatistics}},
		{"/devices/{id}/modules", all(notEmulated(modules))},
		{"/devices/{id}/modules/{module}", all(notEmulated(modules))},
		{"/twins/{id}/modules/{module}", all(notEmulated(modules))},
		{"/twins/{id}/modules/{module}/methods", all(notEmulated(modules))},
		{"/jobs", all(notEmulated(jobs))}, {"/jobs/{id}", all(notEmulated(jobs))},
		{"/jobs/v2/{id}", all(notEmulated(jobs))}, {"/jobs/v2/{id}/cancel", all(notEmulated(jobs))},
		{"/configurations", all(notEmulated(configurations))},
		{"/configurations/{id}", all(notEmulated(configurations))},
		{"/devices/{id}/applyConfigurationContent", all(notEmulated(configurations))},
		{"/digitaltwins/{id}", all(notEmulated(digitalTwins))},
		{"/digitaltwins/{id}/commands/{name}", all(notEmulated(digitalTwins))},
		{"/digitaltwins/{id}/components/{component}/commands/{name}", all(notEmulated(digitalTwins))},
		{"/messages/serviceBound/feedback", all(notEmulated(feedback))},
		{"/devices/{id}/messages/events", all(notEmulated(device))},
		{"/devices/{id}/messages/deviceBound", all(notEmulated(device))},
		{"/devices/{id}/files", all(notEmulated(device))},
	}
	return a
}

// toHubError converts the errors of the identity registry. Their names are those of
// https://learn.microsoft.com/rest/api/iothub/common-error-codes.
func toHubError(err error) *problem {
	switch {
	case errors.Is(err, emulator.ErrUnknownDevice):
		return &problem{status: http.StatusNotFound, code: 404001, name: "DeviceNotFound"}
	case errors.Is(err, emulator.ErrDeviceExists):
		return &problem{status: http.StatusConflict, code: 409001, name: "DeviceAlreadyExists"}
	case errors.Is(err, emulator.ErrETag):
		return &problem{status: http.StatusPreconditionFailed, code: 412001, name: "PreconditionFailed"}
	}
	return nil
}

// matchAny returns the ETag of a request that changes something. Without the header, and for an ETag
// without quotes, a hub does not compare: azure-iot-sdk-node issue 606, azure-iot-sdk-java issue 574.
func matchAny(r *http.Request) string {
	tag, quoted := ifMatch(r)
	if !quoted {
		return "*"
	}
	return tag
}

// top returns the largest number of items that a request asks for.
func top(text string, most int) (int, error) {
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, invalid("The number of items is not a number above 0.")
	}
	return min(n, most), nil
}

func (h hub) deviceStatistics(request) (answer, error) {
	total, enabled := 0, 0
	for _, d := range h.cloud.Identities(h.endpoint) {
		total++
		if d.Enabled {
			enabled++
		}
	}
	return answer{status: http.StatusOK, value: map[string]int{
		"totalDeviceCount": total, "enabledDeviceCount": enabled, "disabledDeviceCount": total - enabled,
	}}, nil
}

func (h hub) serviceStatistics(request) (answer, error) {
	connected := 0
	for _, d := range h.cloud.Identities(h.endpoint) {
		if d.Connected {
			connected++
		}
	}
	return answer{status: http.StatusOK, value: map[string]int{"connectedDeviceCount": connected}}, nil
}

// purge deletes the cloud-to-device messages of a device.
func (h hub) purge(q request) (answer, error) {
	if _, err := h.cloud.Identity(h.endpoint, q.id); err != nil {
		return answer{}, err
	}
	purged, err := h.cloud.PurgeMessages(q.id)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, value: map[string]any{
		"deviceId": q.id, "moduleId": nil, "totalMessagesPurged": purged,
	}}, nil
}
