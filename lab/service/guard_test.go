package service_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// wantHubError wants an error in the shape of a hub: {"Message":"ErrorCode:NAME;…","ExceptionMessage":
// "Tracking ID:…"} and the header iothub-errorcode.
func (w world) wantHubError(got reply, status int, name string) {
	w.Helper()
	body := decoded[map[string]any](w, got.text)
	message, _ := body["Message"].(string)
	tracking, _ := body["ExceptionMessage"].(string)
	if got.StatusCode != status || got.Header.Get("iothub-errorcode") != name || len(body) != 2 ||
		!strings.HasPrefix(message, "ErrorCode:"+name+";") || !strings.HasPrefix(tracking, "Tracking ID:") ||
		got.Header.Get("x-ms-request-id") == "" {
		w.Errorf("%s %s: %d %s, want %d %s", got.Request.Method, got.Request.URL, got.StatusCode, got.text, status,
			name)
	}
}

// wantDPSError wants an error in the shape of DPS.
func (w world) wantDPSError(got reply, status int, code float64) {
	w.Helper()
	body := decoded[map[string]any](w, got.text)
	message, _ := body["message"].(string)
	tracking, _ := body["trackingId"].(string)
	when, err := time.Parse(time.RFC3339Nano, body["timestampUtc"].(string))
	if got.StatusCode != status || body["errorCode"] != code || message == "" || tracking == "" || err != nil ||
		time.Since(when).Abs() > time.Minute {
		w.Errorf("%s %s: %d %s, want %d %v", got.Request.Method, got.Request.URL, got.StatusCode, got.text, status,
			code)
	}
}

func TestEachRequestNeedsATokenOfItsOwnEndpoint(t *testing.T) {
	w := onSockets(t)
	later := time.Now().Add(time.Hour)
	hubA, hubB, atDPS := w.access("A"), w.access("B"), w.access(dps)
	good := hubA.token(later)
	signature := func(a access, host string) string { a.host = host; return a.token(later) }
	for what, header := range map[string]string{
		"no token":                  "",
		"a token of hub B":          hubB.token(later),
		"a token of DPS":            atDPS.token(later),
		"hub B's key for hub A":     signature(access{"", "iothubowner", hubB.key}, hubA.host),
		"hub A's key for hub B":     signature(hubA, hubB.host),
		"hub A's key for elsewhere": signature(hubA, "example.com"),
		"an expired token":          hubA.token(time.Now().Add(-time.Second)),
		"no expiry":                 good[:strings.Index(good, "&se=")] + "&skn=iothubowner",
		"another policy":            strings.Replace(good, "iothubowner", "device", 1),
		"no policy":                 strings.Replace(good, "&skn=iothubowner", "", 1),
		"a policy twice":            good + "&skn=iothubowner",
		"a changed signature":       strings.Replace(good, "&sig=", "&sig=A", 1),
		"a bearer token":            "Bearer " + good,
		"a device's token":          sign(hubA.host+"/devices/dev1", w.GroupKey(), later),
	} {
		r := w.request("A", "GET", "/devices"+hubVersion, "")
		r.Header.Set("Authorization", header)
		got := w.do(r)
		w.wantHubError(got, http.StatusUnauthorized, "IotHubUnauthorizedAccess")
		if len(header) > 30 && strings.Contains(got.text, header[len(header)-30:]) {
			t.Errorf("%s: the answer has a part of the token: %s", what, got.text)
		}
	}
	r := w.request(dps, "GET", "/registrations/dev1"+dpsVersion, "")
	r.Header.Set("Authorization", good)
	w.wantDPSError(w.do(r), http.StatusUnauthorized, 401002)
	for _, header := range []string{good, signature(hubA, "127.0.0.1"), strings.ToUpper(good[:3]) + good[3:]} {
		r := w.request("A", "GET", "/devices"+hubVersion, "")
		r.Header.Set("Authorization", header)
		want := http.StatusOK
		if !strings.HasPrefix(header, "Shared") {
			want = http.StatusUnauthorized // the scheme of a SAS token has a case in the SDKs' parsers
		}
		if got := w.do(r); got.StatusCode != want {
			t.Errorf("%.40s…: %d %s", header, got.StatusCode, got.text)
		}
	}
	twice := w.request("A", "GET", "/devices"+hubVersion, "")
	twice.Header.Add("Authorization", good)
	w.wantHubError(w.do(twice), http.StatusUnauthorized, "IotHubUnauthorizedAccess")
}

func TestBadRequestsAreRefusedInTheShapeOfTheirService(t *testing.T) {
	w := onSockets(t)
	if err := w.Assign("dev1", "A"); err != nil {
		t.Fatal(err)
	}
	large := `{"tags":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`
	for _, c := range []struct {
		method, path, body string
		status             int
		name               string
		code               float64
		atDPS              string // the path at DPS; "" means that DPS has nothing like it
	}{
		{"GET", "/devices", "", 400, "InvalidProtocolVersion", 400001, "/enrollments/dev1"},
		{"GET", "/devices/dev1?api-version=2031-01-01", "", 400, "InvalidProtocolVersion", 400001,
			"/enrollments/dev1?api-version=2031-01-01"},
		{"GET", "/devices/dev1?api-version=2024-03-31x", "", 400, "InvalidProtocolVersion", 400001, ""},
		{"PATCH", "/twins/dev1" + hubVersion, large, 413, "MessageTooLarge", 413001, ""},
		{"PUT", "/devices/dev2" + hubVersion, large, 413, "MessageTooLarge", 413001, "/enrollments/dev2" + dpsVersion},
		{"PATCH", "/twins/dev1" + hubVersion, `{"properties":{"desired":{` + `"a":"` +
			strings.Repeat("x", 4097) + `"}}}`, 400, "ArgumentInvalid", 400004, ""},
		{"PUT", "/devices/dev2" + hubVersion, `[]`, 400, "ArgumentInvalid", 400004, "/enrollments/dev2" + dpsVersion},
		{"PUT", "/devices/dev2" + hubVersion, `{"deviceId":"dev2"`, 400, "ArgumentInvalid", 400004,
			"/enrollments/dev2" + dpsVersion},
		{"PUT", "/devices/dev2" + hubVersion, `{"status":"enabled","status":"enabled"}`, 400, "ArgumentInvalid", 400004,
			"/enrollments/dev2" + dpsVersion},
		{"PUT", "/devices/dev2" + hubVersion, `{"deviceId":"dev3"}`, 400, "ArgumentInvalid", 400004,
			"/enrollments/dev2" + dpsVersion},
		{"PUT", "/devices/dev%20x" + hubVersion, `{}`, 400, "ArgumentInvalid", 400004, ""},
		{"PUT", "/devices/dev2" + hubVersion, `{"authentication":{"symmetricKey":{"primaryKey":"c2hvcnQ="}}}`, 400,
			"ArgumentInvalid", 400004, ""},
		{"DELETE", "/devices" + hubVersion, "", 405, "InvalidOperation", 405001, "/enrollments/query" + dpsVersion},
		{"GET", "/nowhere" + hubVersion, "", 404, "NotFound", 404000, "/nowhere" + dpsVersion},
		{"GET", "/" + hubVersion, "", 404, "NotFound", 404000, "/" + dpsVersion},
		{"GET", "/devices/none" + hubVersion, "", 404, "DeviceNotFound", 404001, ""},
		{"GET", "/twins/none" + hubVersion, "", 404, "DeviceNotFound", 404001, ""},
		{"POST", "/twins/none/methods" + hubVersion, `{"methodName":"m"}`, 404, "DeviceNotFound", 404001, ""},
		{"POST", "/twins/dev1/methods" + hubVersion, `{"methodName":"m","responseTimeoutInSeconds":1}`, 400,
			"ArgumentInvalid", 400004, ""},
		{"GET", "/devices/dev1/modules/m" + hubVersion, "", 501, "NotImplemented", 501001,
			"/0ne/registrations/dev1/operations/4" + dpsVersion},
	} {
		w.wantHubError(w.do(w.request("A", c.method, c.path, c.body)), c.status, c.name)
		if c.atDPS != "" {
			w.wantDPSError(w.do(w.request(dps, c.method, c.atDPS, c.body)), c.status, c.code)
		}
	}
}

// The device is at hub A, so hub B does not know it, and cannot create it.
func TestADeviceBelongsToOneHub(t *testing.T) {
	w := onSockets(t)
	if err := w.Assign("dev1", "A"); err != nil {
		t.Fatal(err)
	}
	w.want(200, "A", "GET", "/devices/dev1"+hubVersion, "", "")
	w.wantHubError(w.do(w.request("B", "GET", "/devices/dev1"+hubVersion, "")), 404, "DeviceNotFound")
	w.wantHubError(w.do(w.request("B", "PUT", "/devices/dev1"+hubVersion, `{}`)), 501, "NotImplemented")
	if err := w.MoveDevice("dev1", "B"); err != nil {
		t.Fatal(err)
	}
	w.want(200, "B", "GET", "/twins/dev1"+hubVersion, "", "")
	w.wantHubError(w.do(w.request("A", "GET", "/twins/dev1"+hubVersion, "")), 404, "DeviceNotFound")
}

func TestWebPagesAndForeignHostsAreRefused(t *testing.T) {
	w := onSockets(t)
	for _, endpoint := range []string{"A", dps} {
		for header, value := range map[string]string{"Origin": "https://example.com", "Host": "example.com"} {
			r := w.request(endpoint, "GET", "/statistics/devices"+hubVersion, "")
			r.Header.Set(header, value)
			if header == "Host" {
				r.Host = value
			}
			got := w.do(r)
			if endpoint == dps {
				w.wantDPSError(got, http.StatusForbidden, 403001)
			} else {
				w.wantHubError(got, http.StatusForbidden, "Forbidden")
			}
		}
	}
	r := w.request("A", "GET", "/statistics/devices"+hubVersion, "")
	r.Host = "localhost:1"
	if got := w.do(r); got.StatusCode != http.StatusOK {
		t.Errorf("localhost: %d", got.StatusCode)
	}
}

// A back end that talks to a hub is cut off when the hub is killed, like the devices.
func TestAKilledHubAnswersNoRequest(t *testing.T) {
	w := onSockets(t)
	w.want(200, "A", "GET", "/statistics/service"+hubVersion, "", "")
	if err := w.KillHub("A", emulator.FIN); err != nil {
		t.Fatal(err)
	}
	if got, err := w.client.Do(w.request("A", "GET", "/statistics/service"+hubVersion, "")); err == nil {
		t.Errorf("a killed hub answers %s", got.Status)
		got.Body.Close()
	}
	w.want(200, "B", "GET", "/statistics/service"+hubVersion, "", "")
	if err := w.ReviveHub("A"); err != nil {
		t.Fatal(err)
	}
	w.want(200, "A", "GET", "/statistics/service"+hubVersion, "", "")
}

// A silent hub answers nothing, and what was sent meanwhile when it is back.
func TestASilentHubAnswersWhenItIsBack(t *testing.T) {
	inBubble(t, func(t *testing.T, w world) {
		w.want(200, "A", "GET", "/statistics/service"+hubVersion, "", "")
		if err := w.KillHub("A", emulator.Silence); err != nil {
			t.Fatal(err)
		}
		answered := make(chan time.Time, 1)
		begin := time.Now()
		r := w.request("A", "GET", "/statistics/service"+hubVersion, "")
		go func() {
			if got, err := w.client.Do(r); err == nil {
				_, _ = io.Copy(io.Discard, got.Body)
				got.Body.Close()
			}
			answered <- time.Now()
		}()
		time.Sleep(20 * time.Second)
		if err := w.ReviveHub("A"); err != nil {
			t.Fatal(err)
		}
		if took := (<-answered).Sub(begin); took != 20*time.Second {
			t.Errorf("answered after %v", took)
		}
	})
}
