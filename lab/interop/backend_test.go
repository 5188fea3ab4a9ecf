package interop_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/service"
	"giantlizard.example/failover/lab/slow"
)

// A back end on Microsoft's service SDKs for Node manages devices and enrollments, and calls a method of
// a device on Microsoft's device SDK.
func TestServiceSDKsManageDevicesAndEnrollments(t *testing.T) {
	slow.Test(t)
	cloud := onPorts(t, emulator.Config{RetryAfter: time.Second})
	if err := service.Serve(cloud); err != nil {
		t.Fatal(err)
	}
	w := world{cloud, start(t, cloud, time.Second)}
	w.ready(t, "A")
	results := w.backEnd(t)
	for step, want := range map[string]string{
		"create":       `{"deviceId":"made","status":"enabled","authentication":{"type":"sas"}}`,
		"createAgain":  `{"failure":"DeviceAlreadyExistsError","status":409}`,
		"show":         `{"deviceId":"made","connectionState":"Disconnected"}`,
		"update":       `{"deviceId":"made","status":"disabled"}`,
		"list":         `["made","sdk1"]`,
		"query":        `["sdk1"]`,
		"twin":         `{"tags":{"site":"x"},"properties":{"desired":{"fanSpeed":3}},"connectionState":"Connected"}`,
		"staleTwin":    `{"failure":"InvalidEtagError","status":412}`,
		"method":       `{"status":200,"payload":{"a":1}}`,
		"remove":       `{}`,
		"showRemoved":  `{"failure":"DeviceNotFoundError","status":404}`,
		"enroll":       `{"registrationId":"made","provisioningStatus":"enabled"}`,
		"keys":         `{"type":"symmetricKey"}`,
		"groups":       `["default"]`,
		"registration": `{"registrationId":"sdk1","status":"assigned","deviceId":"sdk1"}`,
		"unenroll":     `{}`,
	} {
		var wanted any
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if !has(results[step], wanted) {
			got, _ := json.Marshal(results[step])
			t.Errorf("%s: %s, want %s", step, got, want)
		}
	}
	w.wantFan(t, 3) // the device has acknowledged the desired property
}

// backEnd runs backend.js and returns its results by step.
func (w world) backEnd(t *testing.T) map[string]any {
	t.Helper()
	sdk := install(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, w.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	hub, err := w.ServiceConnectionString("A")
	if err != nil {
		t.Fatal(err)
	}
	dps, err := w.ServiceConnectionString(emulator.TargetDPS)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), sdk.node, "backend.js")
	command.Env = []string{
		"NODE_PATH=" + sdk.modules, "NODE_EXTRA_CA_CERTS=" + ca, "FAILOVER_HUB_SERVICE=" + hub,
		"FAILOVER_DPS_SERVICE=" + dps, "FAILOVER_DEVICE_ID=" + deviceID,
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("backend.js: %v\n%s", err, &stderr)
	}
	results := map[string]any{}
	for line := range bytes.Lines(out) {
		var step struct {
			Step   string
			Result any
		}
		if err := json.Unmarshal(line, &step); err != nil {
			t.Fatalf("backend.js printed %q: %v", line, err)
		}
		results[step.Step] = step.Result
	}
	return results
}

// has reports whether a value has all members of the wanted one, and otherwise is equal to it.
func has(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		object, isObject := got.(map[string]any)
		for name, value := range want {
			if !has(object[name], value) {
				return false
			}
		}
		return isObject
	case []any:
		list, _ := got.([]any)
		for i, value := range want {
			if len(list) != len(want) || !has(list[i], value) {
				return false
			}
		}
		return true
	}
	return got == want
}
