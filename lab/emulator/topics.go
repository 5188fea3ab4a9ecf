package emulator

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// The topics and filters of a hub. The functions below make those that contain a device ID.
const (
	methodFilter      = "$iothub/methods/POST/#"
	twinFilter        = "$iothub/twin/res/#"
	desiredFilter     = "$iothub/twin/PATCH/properties/desired/#"
	credentialsFilter = "$iothub/credentials/res/#" // a documented filter, but the emulator sends nothing to it

	credentialsRequest = "$iothub/credentials/POST/issueCertificate/?"

	methodRequest = "$iothub/methods/POST/"
	methodReply   = "$iothub/methods/res/"
	twinGet       = "$iothub/twin/GET/?"
	twinReport    = "$iothub/twin/PATCH/properties/reported/?"
	twinReply     = "$iothub/twin/res/"
	desiredPatch  = "$iothub/twin/PATCH/properties/desired/?$version="
)

func telemetryTopic(deviceID string) string { return "devices/" + deviceID + "/messages/events/" }
func messageTopic(deviceID string) string   { return "devices/" + deviceID + "/messages/devicebound/" }

// isDocumentedFilter reports whether the documents describe a filter for this device. A filter for
// a single direct method has the method's name before "/#".
func isDocumentedFilter(filter, deviceID string) bool {
	switch filter {
	case methodFilter, twinFilter, desiredFilter, credentialsFilter, messageTopic(deviceID) + "#":
		return true
	}
	method, isMethod := strings.CutPrefix(filter, methodRequest)
	name, whole := strings.CutSuffix(method, "/#")
	return isMethod && whole && name != "" && !strings.ContainsAny(name, "+#")
}

// rawRID returns the value of $rid in a query, not decoded, because the answer repeats it byte for
// byte.
func rawRID(query string) string {
	for pair := range strings.SplitSeq(query, "&") {
		if name, rid, ok := strings.Cut(pair, "="); ok && (name == "$rid" || name == "%24rid") {
			return rid
		}
	}
	return ""
}

// escape percent-encodes text for a property bag. A space becomes %20, never '+'.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// propertyBag returns properties encoded for a topic, sorted by name.
func propertyBag(properties map[string]string) string {
	names := slices.Sorted(maps.Keys(properties)) // '$' sorts before letters and digits
	for i, name := range names {
		names[i] = escape(name) + "=" + escape(properties[name])
	}
	return strings.Join(names, "&")
}

func isSystem(property string) bool { return strings.HasPrefix(property, "$.") }

// sizeOf returns the size of a message by the rules of the service: the body, the values of system
// properties, and the names and values of the other properties.
func sizeOf(body []byte, properties map[string]string) int {
	size := len(body)
	for name, value := range properties {
		if size += len(value); !isSystem(name) {
			size += len(name)
		}
	}
	return size
}
