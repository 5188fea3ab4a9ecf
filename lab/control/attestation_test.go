package control_test

import "testing"

const (
	ownKey         = "YSBrZXkgb2YgaXRzIG93bg=="
	otherKey       = "YW5vdGhlciBrZXkgb2YgaXRz"
	ownAttestation = `{"type":"symmetricKey",` +
		`"symmetricKey":{"primaryKey":"` + ownKey + `","secondaryKey":"` + ownKey + `"}}`
)

func TestAnAttestationIsTheKeyOfADevice(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	path := devicePath + "/attestation" + version
	derived, err := w.DeviceKey(device)
	if err != nil {
		t.Fatal(err)
	}
	w.wantError(404, "NotFound", "belongs to the enrollment group", "GET", path, "")
	wantJSON(t, w.want(200, "PUT", path, ownAttestation), ownAttestation)
	wantJSON(t, w.want(200, "GET", path, ""), ownAttestation)
	w.newTestDevice() // signs its token with that key
	wantJSON(t, w.want(200, "PATCH", path, `{"symmetricKey":{"primaryKey":"`+otherKey+`"}}`),
		`{"type":"symmetricKey","symmetricKey":{"primaryKey":"`+otherKey+`","secondaryKey":"`+otherKey+`"}}`)
	if key, _ := w.DeviceKey(device); key != otherKey {
		t.Errorf("after the PATCH, the key is %s", key)
	}
	w.want(204, "DELETE", path, "")
	if key, _ := w.DeviceKey(device); key != derived {
		t.Errorf("after the DELETE, the key is %s, not the one that is derived from the group's", key)
	}
	w.wantError(404, "NotFound", "belongs to the enrollment group", "GET", path, "")
}

func TestAnAttestationThatTheEmulatorCannotCheckIsNotImplemented(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	path := devicePath + "/attestation" + version
	two := `{"symmetricKey":{"primaryKey":"` + ownKey + `","secondaryKey":"` + otherKey + `"}}`
	for body, part := range map[string]string{
		`{"type":"x509","x509":{"clientCertificates":{}}}`: "only by a symmetric key",
		`{"type":"tpm","tpm":{"endorsementKey":"x"}}`:      "only by a symmetric key",
		two: "has only one key",
	} {
		w.wantError(501, "NotImplemented", part, "PUT", path, body)
	}
	for _, body := range []string{`{}`, `{"type":"symmetricKey"}`, `{"symmetricKey":{"primaryKey":"not base64"}}`,
		`{"symmetricKey":{"primaryKey":""}}`} {
		w.wantError(422, "InvalidBody", `Give {"type":"symmetricKey"`, "PUT", path, body)
	}
	w.wantError(404, "NotFound", "belongs to the enrollment group", "GET", path, "")
}
