package control

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
)

// An attestationBody is the individual attestation of a device, in a body of a PUT or PATCH.
// Source: the reference of IoT Central's REST API 2022-07-31, Devices - Set Attestation.
type attestationBody struct {
	Type         string          `json:"type"`
	X509         json.RawMessage `json:"x509"`
	TPM          json.RawMessage `json:"tpm"`
	SymmetricKey struct {
		PrimaryKey   *string `json:"primaryKey"`
		SecondaryKey *string `json:"secondaryKey"`
	} `json:"symmetricKey"`
}

func attestationAnswer(key string) any {
	return map[string]any{
		"type": "symmetricKey", "symmetricKey": map[string]string{"primaryKey": key, "secondaryKey": key},
	}
}

// attestation returns the key of a device that does not belong to the enrollment group. That IoT Central
// answers 404 for a device of a group is unconfirmed.
func (a *application) attestation(r *http.Request, _ []byte) (int, any, error) {
	d, err := a.device(r)
	if err == nil && !d.OwnKey {
		err = notFound("Device %s has no attestation of its own, because it belongs to the enrollment group. "+
			"GET /api/devices/%s/credentials returns the key that is derived for it.", d.ID, d.ID)
	}
	if err != nil {
		return 0, nil, err
	}
	key, err := a.cloud.DeviceKey(d.ID)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, attestationAnswer(key), nil
}

// setAttestation gives a device a key of its own. A PUT and a PATCH do the same, because an attestation
// has only one member that the emulator can change.
func (a *application) setAttestation(r *http.Request, body []byte) (int, any, error) {
	var given attestationBody
	if err := decode(body, &given, attestationExample, false); err != nil {
		return 0, nil, err
	}
	d, err := a.device(r)
	if err != nil {
		return 0, nil, err
	}
	keys := given.SymmetricKey
	switch {
	case given.X509 != nil, given.TPM != nil, given.Type != "" && given.Type != "symmetricKey":
		return 0, nil, notImplemented(r, "devices of the emulator authenticate only by a symmetric key. Give %s",
			attestationExample)
	case keys.PrimaryKey == nil || !isKey(*keys.PrimaryKey):
		return 0, nil, invalidContent("The primaryKey is missing, or is not base64. Give %s.", attestationExample)
	case keys.SecondaryKey != nil && *keys.SecondaryKey != *keys.PrimaryKey:
		return 0, nil, notImplemented(r, "a device of the emulator has only one key. "+
			"Give the same primaryKey and secondaryKey, or no secondaryKey")
	}
	if err := a.cloud.Enroll(d.ID, *keys.PrimaryKey); err != nil {
		return 0, nil, invalidContent("%s", sentence(err))
	}
	return http.StatusOK, attestationAnswer(*keys.PrimaryKey), nil
}

func isKey(text string) bool {
	key, err := base64.StdEncoding.DecodeString(text)
	return err == nil && len(key) > 0
}

// deleteAttestation makes a device a member of the enrollment group again.
func (a *application) deleteAttestation(r *http.Request, _ []byte) (int, any, error) {
	d, err := a.device(r)
	if err != nil {
		return 0, nil, err
	}
	if err := a.cloud.Enroll(d.ID, ""); err != nil {
		return 0, nil, invalidContent("%s", sentence(err))
	}
	return http.StatusNoContent, nil, nil
}
