package service_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var withAz = flag.Bool("az", false, "run az itself with its extension azure-iot, for one or two minutes")

// az runs the real az with a login, and returns its answer, or its error.
func (w world) az(ca, endpoint, command string) (any, string) {
	w.Helper()
	login, err := w.ServiceConnectionString(endpoint)
	if err != nil {
		w.Fatal(err)
	}
	arguments := append(strings.Fields(command), "--login", login, "--only-show-errors") // none contains a space
	c := exec.CommandContext(w.Context(), "az", arguments...)
	c.Env = append(os.Environ(), "REQUESTS_CA_BUNDLE="+ca, "AZURE_CORE_COLLECT_TELEMETRY=no")
	var stdout, stderr strings.Builder
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return nil, stderr.String()
	}
	if strings.TrimSpace(stdout.String()) == "" {
		return map[string]any{}, ""
	}
	return decoded[any](w, stdout.String()), ""
}

func TestAzItselfWorksWithALogin(t *testing.T) {
	if !*withAz {
		t.Skip("this takes one or two minutes: -az")
	}
	if _, err := exec.LookPath("az"); err != nil {
		t.Skip("this needs az with its extension azure-iot: ", err)
	}
	w := onSockets(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, w.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problem := w.az(ca, "A", "iot hub device-identity list"); strings.Contains(problem, "is misspelled") {
		t.Skip("this needs the extension azure-iot of az: ", problem)
	}
	for _, c := range []struct{ endpoint, command, want string }{
		{"A", "iot hub device-identity create -d dev1", `{"deviceId":"dev1","status":"enabled"}`},
		{"A", "iot hub device-identity create -d dev1", "DeviceAlreadyExists"},
		{"A", "iot hub device-identity show -d dev1", `{"deviceId":"dev1","connectionState":"Disconnected"}`},
		{"A", "iot hub device-identity list", `[{"deviceId":"dev1"}]`},
		{"A", "iot hub device-identity update -d dev1 --status disabled", `{"status":"disabled"}`},
		{"A", "iot hub device-identity renew-key -n x -d dev1 --kt primary --no-progress", `{"deviceId":"dev1"}`},
		{"A", "iot hub device-identity renew-key -n x -d dev1 --kt swap", `{"deviceId":"dev1"}`},
		{"A", "iot hub device-identity connection-string show -d dev1", `{}`},
		{"A", `iot hub device-twin update -d dev1 --desired {"a":1} --tags {"b":2}`,
			`{"tags":{"b":2},"properties":{"desired":{"a":1}}}`},
		{"A", "iot hub device-twin update -d dev1 --set tags.c=3", `{"tags":{"b":2,"c":3}}`},
		{"A", `iot hub device-twin replace -d dev1 -j {"tags":{"d":4}}`, `{"tags":{"d":4}}`},
		{"A", "iot hub device-twin show -d dev1", `{"deviceId":"dev1","version":8}`},
		{"A", "iot hub device-twin list", `[{"deviceId":"dev1"}]`},
		{"A", "iot hub invoke-device-method -d dev1 --mn m --to 10", "\"errorCode\":404103"},
		{"A", "iot hub module-identity list -d dev1", "no modules"},
		{"A", "iot hub device-identity delete -d dev1", `{}`},
		{"A", "iot hub device-identity show -d dev1", "DeviceNotFound"},
		{dps, "iot dps enrollment create --eid dev2 --at symmetricKey --device-id pump --allocation-policy static " +
			"--iot-hubs " + w.HubHost("B"), `{"registrationId":"dev2","deviceId":"pump","allocationPolicy":"static"}`},
		{dps, "iot dps enrollment list", `[{"registrationId":"dev2"}]`},
		{dps, "iot dps enrollment show --eid dev2 --show-keys", `{"attestation":{"type":"symmetricKey"}}`},
		{dps, "iot dps enrollment update --eid dev2 --provisioning-status disabled --rp never",
			`{"provisioningStatus":"disabled","reprovisionPolicy":{"updateHubAssignment":false}}`},
		{dps, "iot dps enrollment registration show --eid dev2", "'errorCode': 404202"},
		{dps, "iot dps enrollment delete --eid dev2", `{}`},
		{dps, "iot dps enrollment-group create --eid g1", `{"enrollmentGroupId":"g1"}`},
		{dps, "iot dps enrollment-group update --eid g1 --allocation-policy hashed", `{"allocationPolicy":"hashed"}`},
		{dps, "iot dps enrollment-group list", `[{"enrollmentGroupId":"default"},{"enrollmentGroupId":"g1"}]`},
		{dps, "iot dps enrollment-group registration list --eid g1", `[]`},
		{dps, "iot dps enrollment-group delete --eid g1", `{}`},
		{dps, "iot dps compute-device-key --dps-name x --enrollment-id default --registration-id dev7",
			`"` + derived(w.GroupKey(), "dev7") + `"`},
	} {
		got, problem := w.az(ca, c.endpoint, c.command)
		var want any
		switch err := json.Unmarshal([]byte(c.want), &want); {
		case err != nil && !strings.Contains(problem, c.want):
			t.Errorf("%s: %v %s, want the error %s", c.command, got, problem, c.want)
		case err == nil && problem != "":
			t.Errorf("%s: %s", c.command, problem)
		case err == nil:
			if lacks := missing(want, got, ""); lacks != "" {
				t.Errorf("%s: the answer lacks %s: %v", c.command, lacks, got)
			}
		}
	}
}
