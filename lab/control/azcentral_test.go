package control_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// An azCommand is a command of az iot central and the request that it sends, as the extension azure-iot
// 0.25.0 builds it (azext_iot/central/services). Without a part, the answer is no error.
type azCommand struct {
	command, method, path, body string
	status                      int
	part                        string // part of the sentence of an error
}

const (
	ga      = "?api-version=2022-07-31"         // the version of all resources that are not in preview
	preview = "?api-version=2022-06-30-preview" // the version of device lists, device templates, queries and exports
)

// works are the commands that the emulator carries out, in an order in which each finds what it needs.
var works = []azCommand{
	{"device-template create", "PUT", "/api/deviceTemplates/dtmi:az;1" + preview,
		`{"@type":["ModelDefinition","DeviceModel"],"displayName":"Az","capabilityModel":{"@id":"dtmi:az:model;1",` +
			`"@type":"Interface","contents":[{"@type":"Command","name":"echo"},` +
			`{"@type":"Property","name":"speed","writable":true}]}}`, 200, ""},
	{"device-template list", "GET", "/api/deviceTemplates" + preview, "", 200, ""},
	{"device-template show", "GET", "/api/deviceTemplates/dtmi:az;1" + preview, "", 200, ""},
	{"device-template update", "PATCH", "/api/deviceTemplates/dtmi:az;1" + preview, `{"displayName":"Az 2"}`, 200, ""},
	{"device create", "PUT", "/api/devices/az1" + ga,
		`{"enabled":true,"displayName":"az1","simulated":false,"template":"dtmi:az;1"}`, 200, ""},
	{"device list", "GET", "/api/devices" + preview, "", 200, ""},
	{"device show", "GET", "/api/devices/az1" + ga, "", 200, ""},
	{"device update", "PATCH", "/api/devices/az1" + ga, `{"enabled":true,"displayName":"Az 1","etag":"x","id":"az1",` +
		`"template":"dtmi:az;1","provisioned":false,"simulated":false,"organizations":[]}`, 200, ""},
	{"device show-credentials", "GET", "/api/devices/az1/credentials" + ga, "", 200, ""},
	{"device list-components", "GET", "/api/devices/az1/components" + ga, "", 200, ""},
	{"device list-modules", "GET", "/api/devices/az1/modules" + ga, "", 200, ""},
	{"device attestation create", "PUT", "/api/devices/az1/attestation" + ga, ownAttestation, 200, ""},
	{"device attestation show", "GET", "/api/devices/az1/attestation" + ga, "", 200, ""},
	{"device attestation update", "PATCH", "/api/devices/az1/attestation" + ga, ownAttestation, 200, ""},
	{"device attestation delete", "DELETE", "/api/devices/az1/attestation" + ga, "", 204, ""},
	{"device twin update", "PATCH", "/api/devices/az1/properties" + ga, `{"speed":1}`, 200, ""},
	{"device twin replace", "PUT", "/api/devices/az1/properties" + ga, `{"speed":2}`, 200, ""},
	{"device twin show", "GET", "/api/devices/az1/properties" + ga, "", 200, ""},
	{"device command run", "POST", "/api/devices/dev1/commands/echo" + ga, `{"request":"hi"}`, 201, ""},
	{"device command history", "GET", "/api/devices/dev1/commands/echo" + ga, "", 200, ""},
	{"device telemetry show", "GET", "/api/devices/dev1/telemetry/temp" + ga, "", 200, ""},
	{"device c2d-message purge", "DELETE", "/system/iothub/devices/dev1/c2d", "", 200, ""},
	{"device manual-failover", "POST", "/system/iothub/devices/dev1/manual-failover", `{"ttl":1}`, 200, ""},
	{"device manual-failback", "POST", "/system/iothub/devices/dev1/manual-failback", "", 200, ""},
	{"device edge children list", "GET", "/system/iothub/devices/dev1/get-twin?extendedInfo=true", "", 200, ""},
	{"device edge children remove", "GET", "/api/devices/dev1/relationships" + ga, "", 200, ""},
	{"device edge module list", "GET", "/system/iotedge/devices/dev1/modules", "", 200, ""},
	{"diagnostics registration-summary", "GET", "/api/devices" + ga, "", 200, ""},
	{"diagnostics monitor-properties", "GET", "/system/iothub/devices/dev1/get-twin?extendedInfo=true", "", 200, ""},
	{"device delete", "DELETE", "/api/devices/az1" + ga, "", 204, ""},
	{"device-template delete", "DELETE", "/api/deviceTemplates/dtmi:az;1" + preview, "", 204, ""},
}

// missing are the commands that the emulator does not carry out.
var missing = []azCommand{
	{"api-token create", "PUT", "/api/apiTokens/t" + ga, `{"roles":[{"role":"r"}]}`, 501, "it has one token"},
	{"api-token delete", "DELETE", "/api/apiTokens/t" + ga, "", 501, "it has one token"},
	{"api-token list", "GET", "/api/apiTokens" + ga, "", 501, "it has one token"},
	{"api-token show", "GET", "/api/apiTokens/t" + ga, "", 501, "it has one token"},
	{"device edge children add", "PUT", "/api/devices/dev1/relationships/r" + ga,
		`{"id":"r","source":"dev1","target":"x"}`, 501, "no IoT Edge devices"},
	{"device edge module restart", "POST", "/system/iotedge/devices/dev1/modules/$edgeAgent/directmethods",
		`{"methodName":"RestartModule"}`, 501, "no IoT Edge devices"},
	{"device list --edge-only", "GET", "/api/devices" + preview + "&%24filter=type+eq+%27GatewayDevice%27", "", 501,
		"Leave $filter out"},
	{"device list-components -m", "GET", "/api/devices/dev1/modules/m/components" + ga, "", 501, "no IoT Edge devices"},
	{"device twin show -m", "GET", "/api/devices/dev1/modules/m/properties" + ga, "", 501, "name of the module out"},
	{"device command run -m", "POST", "/api/devices/dev1/modules/m/components/c/commands/echo" + ga, `{}`, 501,
		"name of the module out"},
	{"device-group create", "PUT", "/api/deviceGroups/g" + ga, `{"displayName":"G","filter":"x"}`, 501,
		"no device groups"},
	{"device-group delete", "DELETE", "/api/deviceGroups/g" + ga, "", 501, "no device groups"},
	{"device-group list", "GET", "/api/deviceGroups" + ga, "", 501, "List all devices with GET /api/devices"},
	{"device-group show", "GET", "/api/deviceGroups/g" + ga, "", 501, "no device groups"},
	{"device-group update", "PATCH", "/api/deviceGroups/g" + ga, `{}`, 501, "no device groups"},
	{"diagnostics monitor-events", "POST", "/system/iothubs/generateEventSasTokens", "", 501,
		"use failover emulator messages"},
	{"enrollment-group create", "PUT", "/api/enrollmentGroups/g" + ga, `{}`, 501, "FAILOVER_GROUP_KEY"},
	{"enrollment-group delete", "DELETE", "/api/enrollmentGroups/g" + ga, "", 501, "one enrollment group"},
	{"enrollment-group generate-verification-code", "POST",
		"/api/enrollmentGroups/g/certificates/primary/generateVerificationCode" + ga, "", 501, "one enrollment group"},
	{"enrollment-group list", "GET", "/api/enrollmentGroups" + ga, "", 501, "one enrollment group"},
	{"enrollment-group show", "GET", "/api/enrollmentGroups/g" + ga, "", 501, "one enrollment group"},
	{"enrollment-group update", "PATCH", "/api/enrollmentGroups/g" + ga, `{}`, 501, "one enrollment group"},
	{"enrollment-group verify-certificate", "POST", "/api/enrollmentGroups/g/certificates/primary/verify" + ga, `{}`,
		501, "one enrollment group"},
	{"export create", "PUT", "/api/dataExport/exports/e" + preview, `{}`, 501, "failover emulator messages"},
	{"export delete", "DELETE", "/api/dataExport/exports/e" + preview, "", 501, "failover emulator messages"},
	{"export destination create", "PUT", "/api/dataExport/destinations/d" + preview, `{}`, 501, "it exports nothing"},
	{"export destination delete", "DELETE", "/api/dataExport/destinations/d" + preview, "", 501, "it exports nothing"},
	{"export destination list", "GET", "/api/dataExport/destinations" + preview, "", 501, "it exports nothing"},
	{"export destination show", "GET", "/api/dataExport/destinations/d" + preview, "", 501, "it exports nothing"},
	{"export destination update", "PATCH", "/api/dataExport/destinations/d" + preview, `{}`, 501, "it exports nothing"},
	{"export list", "GET", "/api/dataExport/exports" + preview, "", 501, "GET /lizard/v1/messages"},
	{"export show", "GET", "/api/dataExport/exports/e" + preview, "", 501, "it exports nothing"},
	{"export update", "PATCH", "/api/dataExport/exports/e" + preview, `{}`, 501, "it exports nothing"},
	{"file-upload-config create", "PUT", "/api/fileUploads" + ga, `{"connectionString":"x"}`, 501,
		"no storage account"},
	{"file-upload-config delete", "DELETE", "/api/fileUploads" + ga, "", 501, "no storage account"},
	{"file-upload-config show", "GET", "/api/fileUploads" + ga, "", 501, "no storage account"},
	{"file-upload-config update", "PATCH", "/api/fileUploads" + ga, `{}`, 501, "no storage account"},
	{"job create", "PUT", "/api/jobs/j" + ga, `{"displayName":"J","group":"g","data":[]}`, 501, "command run"},
	{"job get-devices", "GET", "/api/jobs/j/devices" + ga, "", 501, "no jobs"},
	{"job list", "GET", "/api/jobs" + ga, "", 501, "no jobs"},
	{"job rerun", "PUT", "/api/jobs/j/rerun/r" + ga, "", 501, "no jobs"},
	{"job resume", "POST", "/api/jobs/j/resume" + ga, "", 501, "no jobs"},
	{"job show", "GET", "/api/jobs/j" + ga, "", 501, "no jobs"},
	{"job stop", "POST", "/api/jobs/j/stop" + ga, "", 501, "no jobs"},
	{"organization create", "PUT", "/api/organizations/o" + ga, `{"displayName":"O"}`, 501, "no organizations"},
	{"organization delete", "DELETE", "/api/organizations/o" + ga, "", 501, "no organizations"},
	{"organization list", "GET", "/api/organizations" + ga, "", 501, "no organizations"},
	{"organization show", "GET", "/api/organizations/o" + ga, "", 501, "no organizations"},
	{"organization update", "PATCH", "/api/organizations/o" + ga, `{}`, 501, "no organizations"},
	{"query", "POST", "/api/query" + preview, `{"query":"SELECT $id FROM dtmi:az;1"}`, 501,
		"failover emulator messages"},
	{"role list", "GET", "/api/roles" + ga, "", 501, "no roles"},
	{"role show", "GET", "/api/roles/r" + ga, "", 501, "no roles"},
	{"scheduled-job create", "PUT", "/api/scheduledJobs/j" + ga, `{}`, 501, "no jobs"},
	{"scheduled-job delete", "DELETE", "/api/scheduledJobs/j" + ga, "", 501, "no jobs"},
	{"scheduled-job list", "GET", "/api/scheduledJobs" + ga, "", 501, "no jobs"},
	{"scheduled-job list-runs", "GET", "/api/scheduledJobs/j/jobs" + ga, "", 501, "no jobs"},
	{"scheduled-job show", "GET", "/api/scheduledJobs/j" + ga, "", 501, "no jobs"},
	{"scheduled-job update", "PATCH", "/api/scheduledJobs/j" + ga, `{}`, 501, "no jobs"},
	{"user create", "PUT", "/api/users/u" + ga, `{"type":"email","roles":[],"email":"x"}`, 501, "no users"},
	{"user delete", "DELETE", "/api/users/u" + ga, "", 501, "no users"},
	{"user list", "GET", "/api/users" + ga, "", 501, "no users"},
	{"user show", "GET", "/api/users/u" + ga, "", 501, "no users"},
	{"user update", "PATCH", "/api/users/u" + ga, `{}`, 501, "no users"},
}

func TestEachRequestOfAzIoTCentralWorks(t *testing.T) {
	w := onSockets(t)
	g := w.newTestDevice()
	g.wait(g.Publish("devices/dev1/messages/events/", 1, false, `{"temp":21.5}`))
	for _, c := range works {
		got := w.do(w.azRequest(c))
		if got.StatusCode != c.status {
			t.Errorf("az iot central %s: %d, want %d: %s", c.command, got.StatusCode, c.status, got.text)
		}
		// az takes an answer with a member of this name for an error, whatever the status
		if c.status != http.StatusNoContent && got.object(t)["error"] != nil {
			t.Errorf("az iot central %s: %s", c.command, got.text)
		}
	}
	for _, path := range []string{"/api/devices/dev1/modules", "/api/devices/dev1/relationships"} {
		wantJSON(t, w.want(200, "GET", path+ga, ""), `{"value":[]}`)
	}
	wantJSON(t, w.want(200, "GET", "/system/iotedge/devices/dev1/modules", ""), `{"modules":[]}`)
}

func TestEachOtherRequestOfAzIoTCentralIsNotImplementedAndSaysWhatToDo(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	for _, c := range missing {
		got, code := w.do(w.azRequest(c)), "NotImplemented"
		path, _, _ := strings.Cut(c.path, "?")
		sentence := fmt.Sprintf("The emulator does not implement %s %s, because ", c.method, path)
		if strings.HasSuffix(c.path, "SasTokens") { // az takes the code apart
			code, sentence = "501", "The emulator has no Event Hubs"
		}
		got.wantError(t, c.status, code, sentence)
		got.wantError(t, c.status, code, c.part)
	}
}

// azRequest returns the request of a command with the headers that az sends.
func (w world) azRequest(c azCommand) *http.Request {
	r := w.request(c.method, c.path, c.body)
	r.Header.Set("User-Agent", "IoTPlatformCliExtension/0.25.0")
	r.Header.Set("Accept", "*/*")
	r.Header.Set("x-ms-client-request-id", "2f8c1b1e-cd59-11f0-9b1c-0242ac120002")
	if c.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// The document names each command, or the group of a command that is not implemented.
func TestTheDocumentAboutAzNamesEachCommand(t *testing.T) {
	text, err := os.ReadFile("../../docs/az.md")
	if err != nil {
		t.Fatal(err)
	}
	named := func(words string) bool { return strings.Contains(string(text), "`"+words+"`") }
	for _, c := range works {
		if !named(c.command) {
			t.Errorf("docs/az.md does not name %s", c.command)
		}
	}
	for _, c := range missing {
		command, _, _ := strings.Cut(c.command, " -") // without a flag
		group := command[:max(0, strings.LastIndex(command, " "))]
		if !named(command) && !named(group) {
			t.Errorf("docs/az.md names neither %s nor its group", command)
		}
	}
}
