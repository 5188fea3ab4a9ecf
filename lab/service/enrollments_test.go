package service_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
)

func derived(key, id string) string {
	secret, _ := base64.StdEncoding.DecodeString(key)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// enroll stores an individual enrollment and returns its keys. more are members of the body.
func (w world) enroll(id, match, more string) (primary, secondary string) {
	w.Helper()
	w.want(200, dps, "PUT", "/enrollments/"+id+dpsVersion, match,
		fmt.Sprintf(`{"registrationId":%q,"attestation":{"type":"symmetricKey"}%s}`, id, more))
	keys := w.want(200, dps, "POST", "/enrollments/"+id+"/attestationmechanism"+dpsVersion, "", "")
	return at(keys, "symmetricKey.primaryKey").(string), at(keys, "symmetricKey.secondaryKey").(string)
}

func (w world) static(hub string) string {
	return fmt.Sprintf(`,"allocationPolicy":"static","iotHubs":[%q]`, w.HubHost(hub))
}

// The device registers at DPS by its own key, under another device ID, and gets hub, twin and keys from
// its enrollment.
func TestAnIndividualEnrollmentDecidesHubDeviceIDAndTwin(t *testing.T) {
	inBubble(t, func(t *testing.T, w world) {
		primary, secondary := w.enroll("dev1", "", w.static("B")+`,"deviceId":"pump",`+
			`"initialTwin":{"tags":{"site":"north"},"properties":{"desired":{"fanSpeed":2}}}`)
		got := w.mustRegister("dev1", secondary)
		if s := got.RegistrationState; s.AssignedHub != w.HubHost("B") || s.DeviceID != "pump" ||
			s.Substatus != "initialAssignment" {
			t.Errorf("DPS assigns %+v", s)
		}
		w.mustConnect("B", "pump", primary)
		twin := w.want(200, "B", "GET", "/twins/pump"+hubVersion, "", "")
		if at(twin, "tags.site") != "north" || at(twin, "properties.desired.fanSpeed") != 2.0 {
			t.Errorf("the twin is %v", twin)
		}
		shown := w.want(200, dps, "GET", "/enrollments/dev1"+dpsVersion, "", "")
		if at(shown, "registrationState.status") != "assigned" || at(shown, "registrationState.deviceId") != "pump" {
			t.Errorf("the enrollment is %v", shown)
		}
		if _, err := w.register("dev1", derived(w.GroupKey(), "dev1")); err == nil {
			t.Error("DPS accepts the group's key for a device with an individual enrollment")
		}
	})
}

func TestADeviceOfAGroupRegistersByAKeyDerivedFromEitherKey(t *testing.T) {
	inBubble(t, func(t *testing.T, w world) {
		w.want(200, dps, "PUT", "/enrollmentGroups/g1"+dpsVersion, "",
			`{"enrollmentGroupId":"g1","attestation":{"type":"symmetricKey"}`+w.static("B")+`}`)
		keys := w.want(200, dps, "POST", "/enrollmentgroups/g1/attestationmechanism"+dpsVersion, "", "")
		for i, which := range []string{"primaryKey", "secondaryKey"} {
			id := fmt.Sprintf("dev%d", i)
			got := w.mustRegister(id, derived(at(keys, "symmetricKey."+which).(string), id))
			if got.RegistrationState.AssignedHub != w.HubHost("B") {
				t.Errorf("%s: %+v", which, got)
			}
		}
		list := w.do(w.request(dps, "POST", "/registrations/g1/query"+dpsVersion, ""))
		if n := len(decoded[[]any](w, list.text)); n != 2 {
			t.Errorf("%d registrations: %s", n, list.text)
		}
		w.want(204, dps, "DELETE", "/registrations/dev0"+dpsVersion, "*", "")
		w.want(404, dps, "GET", "/registrations/dev0"+dpsVersion, "", "")
		w.want(200, "B", "GET", "/devices/dev0"+hubVersion, "", "") // the hub keeps the device
		w.want(204, dps, "DELETE", "/enrollmentGroups/g1"+dpsVersion, "", "")
		if _, err := w.register("dev1", derived(at(keys, "symmetricKey.primaryKey").(string), "dev1")); err == nil {
			t.Error("DPS accepts a key of a deleted group")
		}
		other := w.mustRegister("dev3", derived(w.GroupKey(), "dev3"))
		if other.RegistrationState.AssignedHub != w.HubHost("A") {
			t.Errorf("the emulator's group assigns %+v", other)
		}
	})
}

func TestADisabledEnrollmentAnswers403(t *testing.T) {
	inBubble(t, func(t *testing.T, w world) {
		primary, _ := w.enroll("dev1", "", `,"provisioningStatus":"disabled"`)
		if got, err := w.register("dev1", primary); err != nil || got.ErrorCode != 403001 {
			t.Errorf("a disabled enrollment: %+v, %v", got, err)
		}
		w.enroll("dev1", "*", `,"provisioningStatus":"enabled"`)
		w.mustRegister("dev1", primary) // the keys stay when a change names none
	})
}

// The re-provisioning policies: the hub and the twin after the enrollment was changed to hub B.
func TestAChangedEnrollmentMovesADeviceByItsPolicy(t *testing.T) {
	for name, c := range map[string]struct{ policy, hub, substatus, desired string }{
		"reprovisionandmigratedata": {
			`{"updateHubAssignment":true,"migrateDeviceData":true}`, "B", "deviceDataMigrated", `{"fanSpeed":9}`,
		},
		"reprovisionandresetdata": {
			`{"updateHubAssignment":true,"migrateDeviceData":false}`, "B", "deviceDataReset", `{"fanSpeed":2}`,
		},
		"never": {
			`{"updateHubAssignment":false,"migrateDeviceData":false}`, "A", "initialAssignment", `{"fanSpeed":9}`,
		},
	} {
		inBubble(t, func(t *testing.T, w world) {
			more := `,"initialTwin":{"properties":{"desired":{"fanSpeed":2}}},"reprovisionPolicy":` + c.policy
			primary, _ := w.enroll("dev1", "", w.static("A")+more)
			w.mustRegister("dev1", primary)
			if err := w.SetDesired("dev1", map[string]any{"fanSpeed": 9}); err != nil {
				t.Fatal(err)
			}
			w.enroll("dev1", "*", w.static("B")+more)
			got := w.mustRegister("dev1", primary).RegistrationState
			desired, _, _, _ := w.Twin("dev1")
			text, _ := json.Marshal(desired)
			if got.AssignedHub != w.HubHost(c.hub) || got.Substatus != c.substatus || string(text) != c.desired {
				t.Errorf("%s: %+v with %s", name, got, text)
			}
			// a move by an operator lasts: DPS looks at the enrollment again when it was changed again
			if err := w.MoveDevice("dev1", "A"); err != nil {
				t.Fatal(err)
			}
			if got := w.mustRegister("dev1", primary).RegistrationState; got.AssignedHub != w.HubHost("A") {
				t.Errorf("%s, after a move: %+v", name, got)
			}
		})
	}
}

func TestAHashedAllocationUsesAllHubs(t *testing.T) {
	inBubble(t, func(t *testing.T, w world) {
		w.want(200, dps, "PUT", "/enrollmentGroups/default"+dpsVersion, "*",
			`{"enrollmentGroupId":"default","attestation":{"type":"symmetricKey"},"allocationPolicy":"hashed"}`)
		devices := map[string]int{}
		for i := range 8 {
			id := fmt.Sprintf("dev%d", i)
			got := w.mustRegister(id, derived(w.GroupKey(), id)).RegistrationState
			devices[got.AssignedHub]++
		}
		if len(devices) != 2 {
			t.Errorf("the hubs have %v devices", devices)
		}
	})
}

// The group key is printed at each start, so it must be the one that counts.
func TestTheKeysOfTheEmulatorsGroupStay(t *testing.T) {
	w := onSockets(t)
	const other = "MDEyMzQ1Njc4OTAxMjM0NQ=="
	w.want(501, dps, "PUT", "/enrollmentGroups/default"+dpsVersion, "*", fmt.Sprintf(`{"enrollmentGroupId":"default",`+
		`"attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":%q,"secondaryKey":%[1]q}}}`, other))
	keys := w.want(200, dps, "POST", "/enrollmentGroups/default/attestationmechanism"+dpsVersion, "", "")
	if at(keys, "symmetricKey.primaryKey") != w.GroupKey() {
		t.Error("the primary key is not the group key")
	}
}

// A DPS ETag has quotes within the body; Node's SDK sends it as it is, and others without the quotes.
func TestAnEnrollmentIsReplacedOnlyUnderItsETag(t *testing.T) {
	w := onSockets(t)
	w.enroll("dev1", "", "")
	for range 2 {
		shown := w.want(200, dps, "GET", "/enrollments/dev1"+dpsVersion, "", "")["etag"].(string)
		w.enroll("dev1", shown, "")
		body := `{"registrationId":"dev1","attestation":{"type":"symmetricKey"}}`
		r := w.request(dps, "PUT", "/enrollments/dev1"+dpsVersion, body)
		r.Header.Set("If-Match", shown)
		w.wantDPSError(w.do(r), 412, 412001)
		w.wantDPSError(w.do(w.request(dps, "PUT", "/enrollments/dev1"+dpsVersion, body)), 409, 409201)
	}
}
