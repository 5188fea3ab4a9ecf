package emulator

// The refusals of DPS and hubs, of DPS, and of hubs.
const (
	refuseTLS         refusal = "tls"
	refuseNoCONNECT   refusal = "no-connect"
	refuseProtocol    refusal = "protocol-version"
	refuseMQTT        refusal = "mqtt"
	refuseQoS2        refusal = "qos-2"
	refuseTopic       refusal = "topic"
	refuseFilter      refusal = "filter"
	refuseClientID    refusal = "client-id"
	refuseUsername    refusal = "user-name"
	refuseToken       refusal = "token"
	refuseTakenOver   refusal = "taken-over"
	refuseSilent      refusal = "silent"
	refuseSlowReader  refusal = "slow-reader"
	refuseMessageSize refusal = "message-size"

	refuseRegistrationID refusal = "registration-id"
	refuseScope          refusal = "id-scope"
	refuseBody           refusal = "registration-body"
	refusePolls          refusal = "polls"
	refuseOperation      refusal = "operation"
	refuseRegistrations  refusal = "registrations"

	refuseDevice        refusal = "device"
	refuseConnections   refusal = "hub-connections"
	refuseExpired       refusal = "token-expired"
	refuseSubscriptions refusal = "subscriptions"
	refusePropertyBag   refusal = "property-bag"
	refuseTwinJSON      refusal = "twin-json"
	refuseTwinName      refusal = "twin-name"
	refuseTwinValue     refusal = "twin-value"
	refuseTwinDepth     refusal = "twin-depth"
	refuseTwinSize      refusal = "twin-size"
)

// The evidence that several refusals have.
const (
	docHub       = "`iot/iot-mqtt-connect-to-iot-hub.md`"
	docDPS       = "`iot/iot-mqtt-connect-to-iot-dps.md`"
	docTwin      = "`iot-hub/iot-hub-devguide-device-twins.md`"
	docSAS       = "`iot-hub/iot-hub-dev-guide-sas.md`"
	docErrors    = "`iot-hub/troubleshoot-error-codes.md`"
	docQuotas    = "`iot-hub/iot-hub-devguide-quotas-throttling.md`"
	docDPSErrors = "`iot-dps/how-to-troubleshoot-dps.md`"
	docDPSLimits = "`includes/iot-dps-limits.md`"
	// The hub ends the connection if it cannot accept a subscription, says a developer of Microsoft.
	subscribing = "Azure/azure-iot-middleware-freertos pull request 89"
	// Microsoft published an MQTT server in front of IoT Hub, from before hubs spoke MQTT themselves.
	gateway = "source of Azure/azure-iot-protocol-gateway"
)

// The answers that refusals have in common.
const (
	closes = "the connection ends"
	bad400 = "400, code 400004"
)

// refusals contains everything that the emulator refuses, in the order of docs/emulator.md. A test
// compares the two.
var refusals = []struct {
	name                   refusal
	what, answer, evidence string
}{
	// DPS and hubs.
	{refuseTLS, "a TLS handshake that fails, is not for TLS 1.2, or takes more than a minute", closes,
		docDPS + " and `iot-hub/iot-hub-tls-support.md` (TLS 1.2); MQTT 3.1.1, section 3.1.4 (a limit of time, " +
			"not its length)"},
	{refuseNoCONNECT, "no CONNECT within a minute after the handshake", closes,
		"MQTT 3.1.1, section 3.1.4; " + gateway + ", `MqttAdapter.cs`"},
	{refuseProtocol, "a CONNECT for another version than MQTT 3.1.1", "CONNACK 1",
		"[MQTT-3.1.2-2]; reports of 3.1 (mqttjs/MQTT.js issue 652) and of 5 (hivemq/hivemq-edge issue 414)"},
	{refuseMQTT, "a packet that is malformed, or not allowed at this time; a CONNECT whose flags contradict each " +
		"other; a PUBLISH without packet identifier, or to a topic with a wildcard", closes,
		"MQTT 3.1.1: [MQTT-4.8.0-1], [MQTT-3.1.0-2], [MQTT-3.1.2-3] to [MQTT-3.1.2-22], [MQTT-2.3.1-1], " +
			"[MQTT-3.3.2-2]"},
	{refuseQoS2, "a PUBLISH at QoS 2", closes, docHub + " for hubs; " + gateway + ", `MqttAdapter.cs`"},
	{refuseTopic, "a PUBLISH to a topic that is not documented for this device, or without its `$rid`; a method's " +
		"answer whose status is not an integer", closes,
		docHub + " and " + docDPS + " (only the documented topic names; MQTT ends the connection where AMQP has " +
			"an error); eclipse-mosquitto/mosquitto issue 1446"},
	{refuseFilter, "a SUBSCRIBE with a filter that is not documented for this device", closes,
		docHub + " and " + docDPS + " (only the documented filters); " + subscribing},
	{refuseClientID, "a client ID that is not the device ID or registration ID of the user name", "CONNACK 4",
		docHub + ", " + docDPS + "; thomasnordquist/MQTT-Explorer issue 634; " + gateway +
			", `SasTokenDeviceIdentityProvider.cs`"},
	{refuseUsername, "a user name without ID scope and `registrations` (DPS), or without hub and device ID",
		"CONNACK 4", docHub + ", " + docDPS + "; " + gateway + ", `IotHubDeviceIdentity.cs`"},
	{refuseToken, "a password that is no SAS token; a token without `sr`, `sig` or `se`, or with a field twice; one " +
		"for another resource, signed with another key, or expired; one whose `skn` names a policy that does not " +
		"exist", "CONNACK 5", docSAS + ", `iot-dps/how-to-control-access.md`; 401003 in " + docErrors +
		"; `SharedAccessSignatureParser` of Azure/azure-iot-sdk-csharp (fields)"},
	{refuseTakenOver, "a second connection with the same ID", "the first connection ends",
		"[MQTT-3.1.4-2]; 400027 in " + docErrors},
	{refuseSilent, "no packet for 1.5 times the keep-alive, or for 1767 s", closes, "[MQTT-3.1.2-24]; " + docHub},
	{refuseSlowReader, "a client that does not read 8 MB that are pending for it", closes,
		"none: a limit of the emulator's memory"},
	{refuseMessageSize, "more than 256 KB of telemetry, 128 KB as a method's answer, or 96 KB at DPS", closes,
		docQuotas + ", " + docDPSLimits + "; Azure/azure-iot-sdk-node issue 501"},

	// DPS.
	{refuseRegistrationID, "a registration ID with other characters than letters, digits and `-._:`, with more " +
		"than 128, or with another end than a letter, a digit or a dash", "CONNACK 4",
		"`iot-dps/concepts-service.md`; 400004 in Azure/azure-iot-sdk-c issue 405"},
	{refuseScope, "a registration with an unknown ID scope", "404, code 404201", docDPSErrors},
	{refuseBody, "a registration whose body is not a JSON object in UTF-8, or has a member that is not documented",
		"400, code 400012", "MicrosoftDocs/azure-docs issue 66740; " + docDPSErrors},
	{refusePolls, "more than five polls in ten seconds", "429, code 429001", docDPSLimits + ", " + docDPSErrors},
	{refuseOperation, "a poll for an operation that does not exist", "404, code 404202", docDPSErrors},
	{refuseRegistrations, "more registrations in a minute than `--registrations` allows", "429, code 429001",
		docDPSLimits + ", " + docDPSErrors},

	// Hubs.
	{refuseDevice, "a login of a device or module that this hub does not know, or for another hub", "CONNACK 5",
		"401003 in " + docErrors},
	{refuseConnections, "more connections in a second than `--hub-connections` allows", "CONNACK 3", docQuotas},
	{refuseExpired, "a session whose token has expired more than ten minutes ago", closes,
		"401003 in " + docErrors + "; " + docSAS},
	{refuseSubscriptions, "a sixth subscription", closes,
		docHub + ", `iot-hub/iot-hub-devguide-direct-methods.md`; " + subscribing},
	{refusePropertyBag, "telemetry whose properties are badly percent-encoded", closes,
		"Azure/azure-iot-sdk-java pull request 743; Azure/azure-iot-sdk-c issues 869 and 1695"},
	{refuseTwinJSON, "reported properties that are not one JSON object in UTF-8", bad400, docHub},
	{refuseTwinName, "a name in a twin with more than 1 KB, or with `.`, `$`, a space or a control character", bad400,
		docTwin + "; 400004 in amenzhinsky/iothub issue 70"},
	{refuseTwinValue, "in a twin a string of more than 4 KB, or an integer beyond 2^52", bad400, docTwin},
	{refuseTwinDepth, "in a twin more than ten levels of objects", bad400, docTwin},
	{refuseTwinSize, "more than 32 KB of reported properties", "413, code 413001", docTwin},
}
