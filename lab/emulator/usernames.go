package emulator

import (
	"fmt"
	"regexp"
	"strings"
)

// The oldest api-versions that DPS speaks MQTT with, that the hub is asked for here, and that know model IDs.
const (
	oldestDPSVersion   = "2019-03-31"
	oldestHubVersion   = "2016-11-14"
	oldestModelVersion = "2020-09-30"
)

var apiVersion = regexp.MustCompile(`^20[0-9]{2}-[01][0-9]-[0-3][0-9](-preview)?$`)

// registrationID allows up to 128 letters, digits and . _ - : with a letter or digit at both ends.
var registrationID = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?$`)

// parseDPSUsername reads "{idScope}/registrations/{registrationId}/api-version=…[&ClientVersion=…]".
func parseDPSUsername(username string) (scope, id string, err error) {
	parts := strings.SplitN(username, "/", 4)
	if len(parts) != 4 || parts[0] == "" || parts[1] != "registrations" || !strings.HasPrefix(parts[3], "api-version=") {
		return "", "", fmt.Errorf("the user name %.200q is not {idScope}/registrations/{registrationId}/api-version=…", username)
	}
	if !registrationID.MatchString(parts[2]) {
		return "", "", fmt.Errorf("%.200q is no registration ID", parts[2])
	}
	_, err = checkVersion(parts[3], oldestDPSVersion)
	return parts[0], parts[2], err
}

// parseHubUsername reads "{assignedHub}/{deviceId}/?api-version=…[&DeviceClientType=…][&model-id=…]".
func parseHubUsername(username string) (host, id, model string, err error) {
	name, query, found := strings.Cut(username, "/?")
	host, id, slash := strings.Cut(name, "/")
	if !found || !slash || host == "" || !strings.HasPrefix(query, "api-version=") {
		return "", "", "", fmt.Errorf("the user name %.200q is not {assignedHub}/{deviceId}/?api-version=…", username)
	}
	if !registrationID.MatchString(id) {
		return "", "", "", fmt.Errorf("%.200q is no device ID", id)
	}
	values, err := checkVersion(query, oldestHubVersion)
	if err != nil {
		return "", "", "", err
	}
	model, given := values["model-id"]
	switch {
	case given && !strings.HasPrefix(model, "dtmi:"):
		return "", "", "", fmt.Errorf("the model-id %.200q is no dtmi", model)
	case given && values["api-version"] < oldestModelVersion:
		return "", "", "", fmt.Errorf("model-id needs api-version %s or newer", oldestModelVersion)
	case strings.ContainsAny(query, " +"): // a dtmi's ':' and ';' may stand as they are: Microsoft's SDK for Node never encodes them
		return "", "", "", fmt.Errorf("the user name's values are not percent-encoded: %.200q", query)
	}
	return host, id, model, nil
}

func checkVersion(query, oldest string) (map[string]string, error) {
	values, err := parameters(query)
	if err != nil {
		return nil, fmt.Errorf("the user name's parameters: %w", err)
	}
	if version := values["api-version"]; !apiVersion.MatchString(version) || version < oldest {
		return nil, fmt.Errorf("the api-version %.40q is unknown or older than %s", version, oldest)
	}
	return values, nil
}
