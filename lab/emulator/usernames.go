package emulator

import (
	"regexp"
	"strings"
)

// The oldest api-versions in the documents: for DPS over MQTT, for a hub, and for model IDs.
const (
	oldestDPSVersion   = "2019-03-31"
	oldestHubVersion   = "2016-11-14"
	oldestModelVersion = "2020-09-30"
)

var apiVersion = regexp.MustCompile(`^20[0-9]{2}-[01][0-9]-[0-3][0-9](-preview)?$`)

var (
	// registrationID matches what at least one document allows. azure-docs
	// iot-dps/concepts-service.md allows up to 128 letters, digits and - . _ : and requires a
	// letter, a digit or a dash at the end. The REST reference (Runtime Registration) does not
	// allow : and requires a letter or a digit at both ends.
	registrationID = regexp.MustCompile(`^[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]$`)
	// plainRegistrationID matches what all documents allow. The oldest documents allow only lower
	// case, and in 2018 the service refused upper case with error 400004 (azure-iot-sdk-c issue
	// 405).
	plainRegistrationID = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$`)
	// deviceIDs matches the device IDs that a hub allows: azure-docs
	// iot-hub/iot-hub-devguide-identity-registry.md, and the REST reference for : and ;
	deviceIDs = regexp.MustCompile(`^[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,128}$`)
)

// parseDPSUsername parses
// "{idScope}/registrations/{registrationId}/api-version=…[&ClientVersion=…]". The notes name each
// use that the documents do not describe.
func parseDPSUsername(username string) (scope, id string, notes []string, err error) {
	parts := strings.SplitN(username, "/", 4)
	if len(parts) < 3 || parts[0] == "" || parts[1] != "registrations" {
		return "", "", nil,
			refuse(refuseUsername, "the user name %.200q is not {idScope}/registrations/{registrationId}/api-version=…",
				username)
	}
	scope, id = parts[0], parts[2]
	if !registrationID.MatchString(id) {
		return "", "", nil, refuse(refuseRegistrationID, "%.200q is not a valid registration ID", id)
	}
	if !plainRegistrationID.MatchString(id) {
		notes = append(notes, "has a registration ID that not every document allows: "+
			"lower case is safe, with a letter or digit at both ends and no colon")
	}
	query := ""
	if len(parts) == 4 {
		query = parts[3]
	}
	if strings.HasPrefix(query, "?") {
		notes = append(notes, "sent a user name for DPS with a question mark, which the documents do not have")
	}
	_, more := readParameters(strings.TrimPrefix(query, "?"), oldestDPSVersion)
	return scope, id, append(notes, more...), nil
}

// parseHubUsername parses
// "{assignedHub}/{deviceId}/?api-version=…[&DeviceClientType=…][&model-id=…]". Microsoft has
// connected without an api-version (azure-docs issue 16306), and SDKs connect without the question
// mark (azure-iot-sdk-csharp#468, amenzhinsky/iothub). The ID of a module is part of id.
func parseHubUsername(username string) (host, id, model string, notes []string, err error) {
	host, rest, _ := strings.Cut(username, "/")
	id, query, _ := strings.Cut(rest, "/")
	if module, more, found := strings.Cut(query, "/"); found && !strings.ContainsAny(module, "?=") {
		id, query = id+"/"+module, more
	}
	if host == "" || id == "" {
		return "", "", "", nil, refuse(refuseUsername,
			"the user name %.200q is not {assignedHub}/{deviceId}/?api-version=…", username)
	}
	if query != "" && !strings.HasPrefix(query, "?") {
		notes = append(notes, "sent a user name without the question mark before api-version")
	}
	values, more := readParameters(strings.TrimPrefix(query, "?"), oldestHubVersion)
	notes = append(notes, more...)
	model, given := values["model-id"]
	if given && values["api-version"] < oldestModelVersion {
		notes = append(notes, "named its model under an api-version older than "+oldestModelVersion)
	}
	if given && !strings.HasPrefix(model, "dtmi:") {
		notes, model = append(notes, "named a model-id that is not a dtmi"), ""
	}
	return host, id, model, notes, nil
}

// readParameters parses the query of a user name, as far as possible. The ':' and ';' of a dtmi
// need not be encoded: Microsoft's SDK for Node never encodes them.
func readParameters(query, oldest string) (values map[string]string, notes []string) {
	values, _, err := parameters(query)
	if err != nil || strings.ContainsAny(query, " +") {
		notes = append(notes, "sent a user name whose values are not percent-encoded")
	}
	if version := values["api-version"]; !apiVersion.MatchString(version) || version < oldest {
		notes = append(notes, "sent a user name whose api-version is missing, unknown or older than "+oldest)
	}
	return values, notes
}
