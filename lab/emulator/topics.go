package emulator

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// The topics and filters of a hub; those with a device's ID in them are made by the functions below.
const (
	methodFilter      = "$iothub/methods/POST/#"
	twinFilter        = "$iothub/twin/res/#"
	desiredFilter     = "$iothub/twin/PATCH/properties/desired/#"
	credentialsFilter = "$iothub/credentials/res/#" // documented; nothing is ever sent there

	methodRequest = "$iothub/methods/POST/"
	methodReply   = "$iothub/methods/res/"
	twinGet       = "$iothub/twin/GET/?"
	twinReport    = "$iothub/twin/PATCH/properties/reported/?"
	twinReply     = "$iothub/twin/res/"
	desiredPatch  = "$iothub/twin/PATCH/properties/desired/?$version="
)

func telemetryTopic(deviceID string) string { return "devices/" + deviceID + "/messages/events/" }
func messageTopic(deviceID string) string   { return "devices/" + deviceID + "/messages/devicebound/" }

// isDocumented tells whether a device may subscribe to a filter. One for a single direct method is among them,
// with its name in the place of the only wildcard.
func isDocumentedFilter(filter, deviceID string) bool {
	switch filter {
	case methodFilter, twinFilter, desiredFilter, credentialsFilter, messageTopic(deviceID) + "#":
		return true
	}
	method, isMethod := strings.CutPrefix(filter, methodRequest)
	name, whole := strings.CutSuffix(method, "/#")
	return isMethod && whole && name != "" && !strings.ContainsAny(name, "+#")
}

// rawRID is the value of $rid as it stands in a topic: opaque, to be echoed byte for byte.
func rawRID(query string) string {
	for pair := range strings.SplitSeq(query, "&") {
		if name, rid, ok := strings.Cut(pair, "="); ok && (name == "$rid" || name == "%24rid") {
			return rid
		}
	}
	return ""
}

// escape percent-encodes whatever might mean something in a property bag. A space becomes %20, never '+'.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// bag writes properties as they stand in a topic, in the order of their names.
func propertyBag(properties map[string]string) string {
	names := slices.Sorted(maps.Keys(properties)) // '$' sorts before letters and digits
	for i, name := range names {
		names[i] = escape(name) + "=" + escape(properties[name])
	}
	return strings.Join(names, "&")
}

func isSystem(property string) bool { return strings.HasPrefix(property, "$.") }

// sizeOf is what a message counts: its body, the values of its system properties, names and values of the others.
func sizeOf(body []byte, properties map[string]string) int {
	size := len(body)
	for name, value := range properties {
		if size += len(value); !isSystem(name) {
			size += len(name)
		}
	}
	return size
}
