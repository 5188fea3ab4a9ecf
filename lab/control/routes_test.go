package control_test

import (
	"net/http"
	"strings"
	"testing"
)

// all contains the routes with their methods.
var all = map[string]string{
	"/api/devices":                                     "GET",
	"/api/devices/dev1":                                "GET PUT PATCH DELETE",
	"/api/devices/dev1/credentials":                    "GET",
	"/api/devices/dev1/components":                     "GET",
	"/api/devices/dev1/modules":                        "GET",
	"/api/devices/dev1/relationships":                  "GET",
	"/api/devices/dev1/attestation":                    "GET PUT PATCH DELETE",
	"/api/devices/dev1/properties":                     "GET PUT PATCH",
	"/api/devices/dev1/components/part/properties":     "GET PUT PATCH",
	"/api/devices/dev1/telemetry/temp":                 "GET",
	"/api/devices/dev1/components/part/telemetry/temp": "GET",
	"/api/devices/dev1/commands/echo":                  "GET POST",
	"/api/devices/dev1/components/part/commands/echo":  "GET POST",
	"/api/deviceTemplates":                             "GET",
	"/api/deviceTemplates/dtmi:Sample:Failover;1":      "GET PUT PATCH DELETE",
	"/system/iothub/devices/dev1/manual-failover":      "POST",
	"/system/iothub/devices/dev1/manual-failback":      "POST",
	"/system/iothub/devices/dev1/get-twin":             "GET",
	"/system/iothub/devices/dev1/c2d":                  "DELETE",
	"/system/iothubs/generateEventSasTokens":           "POST",
	"/lizard/v1/devices/dev1":                          "PUT",
	"/system/iotedge/devices/dev1/modules":             "GET",
	"/lizard/v1/faults":                                "GET",
	"/lizard/v1/messages":                              "GET",
	"/lizard/v1/strikes":                               "GET POST DELETE",
}

func TestAnUnsupportedHTTPMethodIsAnsweredWithTheSupportedOnes(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	for path, methods := range all {
		for _, method := range []string{"GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if strings.Contains(" "+methods+" ", " "+method+" ") {
				continue
			}
			got := w.do(w.request(method, path+version, ""))
			got.wantError(t, 405, "MethodNotAllowed", "")
			for want := range strings.FieldsSeq(methods) {
				if !strings.Contains(got.Header.Get("Allow"), want) {
					t.Errorf("%s %s: allowed is %q", method, path, got.Header.Get("Allow"))
				}
			}
		}
	}
}

func TestAnUnknownPathIsNotFound(t *testing.T) {
	w := onSockets(t)
	for _, path := range []string{
		"/", "/api", "/api/devices/", "/api/devices/dev1/models", "/system", "/lizard/v2/faults", "/favicon.ico",
		"/%00", "/api/devices/a/b/c", "/system/iotedge", "/api/jobs/", "/api/jobs//x",
		"/api//devices", "/api/./devices", "/api/devices/../devices", "//",
	} {
		w.wantError(404, "NotFound", "There is nothing at", "GET", path, "")
	}
}

func TestAHeaderHasALimit(t *testing.T) {
	w := onSockets(t)
	r := w.request("GET", "/lizard/v1/faults", "")
	r.Header.Set("Authorization", "Bearer "+w.server.Token())
	r.Header.Set("X-Long", strings.Repeat("x", 100<<10))
	if got := w.do(r); got.StatusCode != 431 {
		t.Errorf("%d for 100 KiB", got.StatusCode)
	}
}

func TestAnUnknownDeviceIsNotFound(t *testing.T) {
	w := onSockets(t)
	bodies := map[string]string{"PATCH": "{}"}
	for path, methods := range all {
		if !strings.Contains(path, "dev1") {
			continue
		}
		for method := range strings.FieldsSeq(methods) {
			if method == "PUT" && !strings.Contains(path, "dev1/") { // it creates the device
				continue
			}
			w.wantError(404, "NotFound", `Unknown device: "dev1"`, method, path+version, bodies[method])
		}
	}
}

func TestABodyHasALimit(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	padding := strings.Repeat(" ", 1<<20)
	for path, methods := range all {
		for method := range strings.FieldsSeq(methods) {
			if method == "GET" {
				continue
			}
			w.wantError(413, "RequestEntityTooLarge", "1048576", method, path+version, padding+"{}")
		}
	}
	w.want(201, "POST", "/lizard/v1/strikes", padding[:1<<20-28]+`{"target":"A","fault":"fin"}`)
}

func TestAnInvalidBodyIsRefused(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	for _, body := range []string{"[]", "null", `"x"`, "{", `{"a":1}x`, `{"a":1}{}`, "{'a':1}", "\x00"} {
		for path, methods := range all {
			for method := range strings.FieldsSeq(methods) {
				switch {
				case method == "GET", method == "DELETE", strings.HasSuffix(path, "manual-failback"),
					strings.HasSuffix(path, "SasTokens"):
				default:
					w.wantError(400, "InvalidBody", "he", method, path+version, body)
				}
			}
		}
	}
}

func TestABodyThatDecodingWouldChangeIsRefused(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	for _, c := range [][3]string{
		{"PATCH", propertiesPath, `{"fanSpeed":1,"fanSpeed":2}`},
		{"PUT", propertiesPath, `{"a\ud800":1,"a\udc00":2}`},
		{"PATCH", propertiesPath, "{\"a\":\"\xff\"}"},
		{"PATCH", devicePath + version, `{"enabled":true,"enabled":false}`},
		{"PATCH", devicePath + version, `{"enabled":true,"Enabled":false}`},
		{"POST", devicePath + "/commands/echo" + version, `{"request":"\ud800"}`},
		{"POST", "/lizard/v1/strikes", `{"target":"A","Target":"B","fault":"fin"}`},
	} {
		w.wantError(400, "InvalidBody", "he body", c[0], c[1], c[2])
	}
	w.want(200, "PATCH", propertiesPath, `{"a":1,"A":2}`) // these are two properties
	w.want(200, "PATCH", devicePath+version, `{"DisplayName":"x"}`)
}

// IoT Central answers in the same words: azure-sdk-for-go issue 23817.
func TestIoTCentralsRoutesRequireAVersion(t *testing.T) {
	w := onSockets(t)
	for query, named := range map[string]string{
		"": "undefined", "?api-version=": "", "?api-version=1999-01-01": "1999-01-01",
		"?apiversion=2022-07-31": "undefined",
	} {
		for _, path := range []string{"/api/devices", "/api/deviceGroups", "/api/deviceTemplates/x"} {
			w.wantError(404, "NotFound", `"`+named+`" is not a valid API version. The query must name one, such as `+
				`api-version=2022-07-31`, "GET", path+query, "")
		}
	}
	for _, version := range []string{
		"1.0", "1.1-preview", "1.2-preview", "2022-05-31", "2022-06-30-preview", "2022-07-31", "2022-10-31-preview",
	} {
		w.want(200, "GET", "/api/devices?x=1&api-version="+version, "")
	}
}

func TestThereAreNoEventHubs(t *testing.T) {
	onSockets(t).wantError(http.StatusNotImplemented, "501", "Event Hubs", "POST",
		"/system/iothubs/generateEventSasTokens", "")
}

func TestAnswersForbidCaching(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	got := w.do(w.request("GET", "/api/devices/dev1/credentials"+version, ""))
	if got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("its headers are %v", got.Header)
	}
}
