package central

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// A deviceDescription holds the part of a device's description that Registration needs.
type deviceDescription struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Template    string `json:"template"`
	Simulated   bool   `json:"simulated"`
	Provisioned bool   `json:"provisioned"`
	Enabled     bool   `json:"enabled"`
}

// The values of RegistrationInfo.Status.
const (
	Provisioned  = "provisioned"
	Registered   = "registered"   // DPS has not provisioned the device yet
	Blocked      = "blocked"      // the device may not connect
	Unassociated = "unassociated" // the device has no template
)

func (d deviceDescription) status() string {
	switch {
	case !d.Enabled:
		return Blocked
	case d.Template == "":
		return Unassociated
	case !d.Provisioned:
		return Registered
	}
	return Provisioned
}

// statusReasons explains each status in a sentence.
var statusReasons = map[string]string{
	Provisioned:  "None.",
	Registered:   "DPS has not provisioned the device yet: it must connect once.",
	Blocked:      "The device is blocked: unblock it in IoT Central.",
	Unassociated: "The device has no template: assign one in IoT Central.",
}

// A Registration holds what the application and DPS report about a device.
type Registration struct {
	DeviceID string           `json:"@device_id"`
	Info     RegistrationInfo `json:"device_registration_info"`
	DPS      DPSState         `json:"dps_state"`
}

// RegistrationInfo is what the application reports about a device.
type RegistrationInfo struct {
	Status      string `json:"device_status"`
	DisplayName string `json:"display_name"`
	ID          string `json:"id"`
	Simulated   bool   `json:"simulated"`
	Template    string `json:"template"`
}

// DPSState is what DPS reports about a device.
type DPSState struct {
	Error  string  `json:"error"`
	Status *string `json:"status"` // such as assigned; nil means that DPS was not asked or named none
}

// Registration asks the application for a device. If the device is provisioned, it asks DPS, too,
// with the key of the device. If DPS does not answer, DPSState.Error says so, and Registration
// returns no error.
func (c *Client) Registration(ctx context.Context, device string) (Registration, error) {
	var d deviceDescription
	if err := c.device(ctx, http.MethodGet, "/api/devices/", device, versionQuery, nil, &d); err != nil {
		return Registration{}, err
	}
	r := Registration{DeviceID: device,
		Info: RegistrationInfo{d.status(), d.DisplayName, d.ID, d.Simulated, d.Template}}
	r.DPS.Error = statusReasons[r.Info.Status]
	if r.Info.Status != Provisioned || c.dps == "" {
		return r, nil
	}
	status, err := c.dpsStatus(ctx, device)
	if err != nil {
		r.DPS.Error = err.Error()
	} else {
		r.DPS.Status = &status
	}
	return r, ctx.Err()
}

func (c *Client) dpsStatus(ctx context.Context, device string) (string, error) {
	var credentials struct {
		IDScope      string `json:"idScope"`
		SymmetricKey struct {
			PrimaryKey string `json:"primaryKey"`
		} `json:"symmetricKey"`
	}
	path := "/credentials" + versionQuery
	if err := c.device(ctx, http.MethodGet, "/api/devices/", device, path, nil, &credentials); err != nil {
		return "", err
	}
	scope, errScope := segment(credentials.IDScope)
	key, err := base64.StdEncoding.DecodeString(credentials.SymmetricKey.PrimaryKey)
	if err != nil || errScope != nil || len(key) == 0 {
		return "", errors.New("central: credentials: the device has no key for DPS") // the device may use a certificate
	}
	resource := url.QueryEscape(credentials.IDScope + "/registrations/" + device)
	token, err := parseToken(sign(resource, key, time.Now().Add(6*time.Hour)))
	if err != nil {
		return "", fmt.Errorf("central: credentials: %w", err)
	}
	body, err := json.Marshal(map[string]string{"registrationId": device})
	if err != nil {
		return "", fmt.Errorf("central: registration: %w", err)
	}
	var state struct {
		Status string `json:"status"`
	}
	dps := &Client{address: c.dps, token: token, http: c.http}
	path = "/" + scope + "/registrations/" + url.PathEscape(device) + "?api-version=2019-03-31"
	if err := dps.call(ctx, http.MethodPost, path, body, &state); err != nil {
		return "", err
	}
	return state.Status, nil
}

// sign returns a SAS token for a resource, which must be percent-encoded.
func sign(resource string, key []byte, expires time.Time) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s\n%d", resource, expires.Unix())
	signed := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return fmt.Sprintf("%s sr=%s&sig=%s&se=%d&skn=registration", signature, resource, signed, expires.Unix())
}
