package central_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/central"
)

const (
	theDevice = `{"id":"dev1","displayName":"Dev 1","simulated":false,"provisioned":true,"template":"dtmi:x;1",` +
		`"enabled":true}`
	deviceKey = "Q2FuYXJ5NDcxMW9mdGhlZGV2aWNl" // Canary4711ofthedevice
	theKeys   = `{"idScope":"0ne1","symmetricKey":{"primaryKey":"` + deviceKey + `","secondaryKey":"` + deviceKey +
		`"}}`
)

// registration calls Registration with an application that has this device and these credentials, and
// with this DPS.
func registration(t *testing.T, device, credentials string, dps *application) (central.Registration, *application) {
	t.Helper()
	a := serve(t, func(r *http.Request) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/credentials") {
			if credentials == "" {
				return 403, `{"error":{"code":"Forbidden","message":"no"}}`
			}
			return 200, credentials
		}
		return 200, device
	})
	roots := a.roots()
	config := central.Config{URL: a.URL, Token: apiToken, Roots: roots}
	if dps != nil {
		roots.AddCert(dps.Certificate())
		config.DPS = dps.URL
	}
	c, err := central.New(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Registration(t.Context(), "dev1")
	if err != nil {
		t.Fatal(err)
	}
	return r, a
}

func TestDPSIsAskedWithTheKeyOfTheDevice(t *testing.T) {
	dps := serve(t, always(200, `{"registrationId":"dev1","status":"assigned","assignedHub":"hub.example"}`))
	r, a := registration(t, theDevice, theKeys, dps)
	text, _ := json.Marshal(r)
	want := `{"@device_id":"dev1","device_registration_info":{"device_status":"provisioned","display_name":"Dev 1",` +
		`"id":"dev1","simulated":false,` +
		`"template":"dtmi:x;1"},"dps_state":{"error":"None.","status":"assigned"}}`
	if string(text) != want {
		t.Errorf("it says\n%s, want\n%s", text, want)
	}
	for i, request := range []string{
		"GET /api/devices/dev1?api-version=2022-07-31\n", "GET /api/devices/dev1/credentials?api-version=2022-07-31\n",
	} {
		if sent := a.requests(); len(sent) != 2 || !strings.HasPrefix(sent[i], request) {
			t.Errorf("the application was sent %q", sent)
		}
	}
	sent := dps.requests()
	if len(sent) != 1 {
		t.Fatalf("DPS was sent %q", sent)
	}
	line, rest, _ := strings.Cut(sent[0], "\nAuthorization: ")
	token, rest, _ := strings.Cut(rest, "\n")
	if line != "POST /0ne1/registrations/dev1?api-version=2019-03-31" ||
		!strings.HasSuffix(rest, "\n\n"+`{"registrationId":"dev1"}`) ||
		!strings.Contains(rest, "Content-Type: application/json") || strings.Contains(sent[0], "Canary4711") {
		t.Errorf("DPS was sent %q", sent[0])
	}
	wantSigned(t, token)
}

// wantSigned checks the signature of a token as DPS does.
func wantSigned(t *testing.T, token string) {
	t.Helper()
	fields, err := url.ParseQuery(strings.TrimPrefix(token, "SharedAccessSignature "))
	if err != nil {
		t.Fatal(err)
	}
	seconds, _ := strconv.ParseInt(fields.Get("se"), 10, 64)
	if left := time.Until(time.Unix(seconds, 0)); left < 5*time.Hour || left > 6*time.Hour {
		t.Errorf("it expires in %s", left)
	}
	key, _ := base64.StdEncoding.DecodeString(deviceKey)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("0ne1%2Fregistrations%2Fdev1\n" + fields.Get("se")))
	if fields.Get("sr") != "0ne1/registrations/dev1" || fields.Get("skn") != "registration" ||
		fields.Get("sig") != base64.StdEncoding.EncodeToString(mac.Sum(nil)) ||
		!strings.HasPrefix(token, "SharedAccessSignature sr=0ne1%2F") {
		t.Errorf("the token is %s", token)
	}
}

func TestADeviceThatIsNotProvisionedIsExplainedWithoutDPS(t *testing.T) {
	for device, want := range map[string][2]string{
		`{"id":"dev1","enabled":false,"template":"t","provisioned":true}`: {central.Blocked, "is blocked"},
		`{"id":"dev1","enabled":true,"provisioned":true}`:                 {central.Unassociated, "no template"},
		`{"id":"dev1","enabled":true,"template":"t"}`:                     {central.Registered, "not provisioned"},
	} {
		dps := serve(t, always(500, ""))
		r, a := registration(t, device, theKeys, dps)
		if r.Info.Status != want[0] || !strings.Contains(r.DPS.Error, want[1]) || r.DPS.Status != nil {
			t.Errorf("%s: %+v", device, r)
		}
		if len(a.requests()) != 1 || len(dps.requests()) != 0 {
			t.Errorf("%s: it asked for %q and %q", device, a.requests(), dps.requests())
		}
	}
}

func TestAMissingAnswerOfDPSIsPartOfTheRegistration(t *testing.T) {
	refusing := serve(t, always(401, `{"errorCode":401002,"message":"no `+deviceKey+`"}`))
	for name, c := range map[string]struct {
		credentials string
		dps         *application
		want        string
	}{
		"refused":        {theKeys, refusing, "answered 401 401002"},
		"no credentials": {"", refusing, "answered 403 Forbidden"},
		"a certificate":  {`{"idScope":"0ne1","x509":{}}`, refusing, "has no key for DPS"},
		"a bad key": {
			`{"idScope":"0ne1","symmetricKey":{"primaryKey":"!Canary4711"}}`, refusing, "has no key for DPS",
		},
		"no ID scope": {`{"symmetricKey":{"primaryKey":"` + deviceKey + `"}}`, refusing, "has no key for DPS"},
		"not asked":   {theKeys, nil, "None."},
	} {
		r, _ := registration(t, theDevice, c.credentials, c.dps)
		if r.DPS.Status != nil || !strings.Contains(r.DPS.Error, c.want) || strings.Contains(r.DPS.Error, "Canary") {
			t.Errorf("%s: %+v", name, r.DPS)
		}
	}
}
