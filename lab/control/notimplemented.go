package control

import (
	"fmt"
	"net/http"
)

// missingParts are the parts of IoT Central's REST API that the emulator does not have, by the beginning
// of their paths, with what a user can do instead. The paths are those of the reference of the REST API
// and of the requests of az iot central.
var missingParts = map[string]string{
	"/api/apiTokens":  "it has one token, which is in the control file and changes at each start",
	"/api/dashboards": "it has no web pages. Read telemetry with failover emulator messages",
	"/api/dataExport": "it exports nothing. Read telemetry with failover emulator messages, " +
		"or from GET /lizard/v1/messages",
	"/api/deploymentManifests": "it has no IoT Edge devices",
	"/api/deviceGroups":        "it has no device groups. List all devices with GET /api/devices",
	"/api/enrollmentGroups": "it has one enrollment group, which cannot be changed. failover emulator prints " +
		"its key as FAILOVER_GROUP_KEY; az iot central device compute-device-key derives the key of a device from it",
	"/api/fileUploads": "it has no storage account, so devices cannot upload files",
	"/api/jobs": "it has no jobs. Run the command or update the properties of each device with " +
		"az iot central device command run or az iot central device twin update",
	"/api/organizations": "it has no organizations",
	"/api/query": "it has no query language. Read the last value with GET /api/devices/{id}/telemetry/{name}, " +
		"and all telemetry with failover emulator messages",
	"/api/roles": "it has no roles. The token in the control file may do everything",
	"/api/scheduledJobs": "it has no jobs. Run the command or update the properties of each device with " +
		"az iot central device command run or az iot central device twin update",
	"/api/users": "it has no users. The token in the control file may do everything",

	"/api/devices/{device}/modules/":       noModules,
	"/api/devices/{device}/relationships/": "it has no IoT Edge devices, so no device can have children",
	"/system/iotedge/":                     noModules,
}

const noModules = "it has no IoT Edge devices, so devices have no modules. Leave the name of the module out"

// notImplemented returns the problem for a request that IoT Central would carry out. The format continues
// the sentence "The emulator does not implement …, because …" without a point at its end.
func notImplemented(r *http.Request, format string, values ...any) error {
	what := fmt.Sprintf("The emulator does not implement %s %.200s, because ", r.Method, r.URL.EscapedPath())
	return &problem{http.StatusNotImplemented, "NotImplemented", what + fmt.Sprintf(format, values...) + "."}
}

// missingPart returns the handler for a part that the emulator does not have.
func missingPart(why string) handler {
	return func(r *http.Request, _ []byte) (int, any, error) { return 0, nil, notImplemented(r, "%s", why) }
}

// noEventHub answers clients of IoT Central that want to read telemetry from Event Hubs.
func noEventHub(*http.Request, []byte) (int, any, error) {
	return 0, nil, &problem{http.StatusNotImplemented, "501", "The emulator has no Event Hubs to read from: " +
		"use failover emulator messages, GET …/telemetry/{name}, or failover emulator --ledger-file."}
}

// modules returns the modules of a device. No device has one.
func (a *application) modules(r *http.Request, _ []byte) (int, any, error) {
	return a.emptyList(r, "value")
}

// relationships returns the children of a device. No device has one.
func (a *application) relationships(r *http.Request, _ []byte) (int, any, error) {
	return a.emptyList(r, "value")
}

// edgeModules returns the modules of an IoT Edge device. From an empty list, az concludes that a device is
// no IoT Edge device.
func (a *application) edgeModules(r *http.Request, _ []byte) (int, any, error) {
	return a.emptyList(r, "modules")
}

func (a *application) emptyList(r *http.Request, member string) (int, any, error) {
	if _, err := a.device(r); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{member: []any{}}, nil
}
