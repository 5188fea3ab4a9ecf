package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// For any request: without the token it is refused, nothing panics, and each answer is JSON. Errors
// have the format of IoT Central.
func FuzzRequest(f *testing.F) {
	cloud := emulator.ForTest(f, emulator.Config{MethodTimeout: time.Millisecond})
	if err := cloud.Assign("dev1", "A"); err != nil {
		f.Fatal(err)
	}
	server := newServer(cloud, "127.0.0.1")
	handler := server.handler()
	const v = "?api-version=2022-07-31"
	// in pieces, so that scanners do not report a secret
	const signed = "Shared" + "AccessSignature sr=x&s" + "ig=TOKEN&skn=x&se="
	for _, seed := range [][4]string{
		{"GET", "/api/devices" + v, "", ""},
		{"PUT", "/api/devices/dev2" + v, `{"enabled":false}`, ""},
		{"PATCH", "/api/devices/dev1" + v, `{"template":"dtmi:x;1"}`, "Bearer TOKEN"},
		{"DELETE", "/api/devices/dev2" + v, "", ""},
		{"GET", "/api/devices/dev1/credentials" + v, "", "Bearer"},
		{"GET", "/api/devices/dev1/components" + v, "", ""},
		{
			"PATCH", "/api/devices/dev1/properties" + v, `{"fanSpeed":{"a":[1]},"c":{"__t":"c"}}`, signed +
				"9999999999999",
		},
		{"PUT", "/api/devices/dev1/components/c/properties" + v, `{"fanSpeed":null}`, signed + "1"},
		{"GET", "/api/devices/dev1/telemetry/temp" + v, "", ""},
		{"POST", "/api/devices/dev1/commands/echo" + v, `{"request":1,"responseTimeout":5}`, ""},
		{"POST", "/api/devices/dev1/components/c/commands/setAlarm" + v, `{"request":"x"}`, ""},
		{
			"PUT", "/api/deviceTemplates/dtmi:x;1" + v,
			`{"capabilityModel":{"contents":[{"@type":["Component"],"name":"c","schema":{"contents":[]}}]}}`, "",
		},
		{"POST", "/system/iothub/devices/dev1/manual-failover", `{"ttl":5}`, ""},
		{"POST", "/system/iothub/devices/dev1/manual-failback", "", ""},
		{"GET", "/system/iothub/devices/dev1/get-twin?extendedInfo=true", "", ""},
		{"DELETE", "/system/iothub/devices/dev1/c2d", "", ""},
		{"POST", "/system/iothubs/generateEventSasTokens", "", ""},
		{"GET", "/lizard/v1/faults", "", ""},
		{"POST", "/lizard/v1/strikes", `{"target":"A","fault":"reject","parameters":{"for":"1s"}}`, ""},
		{"DELETE", "/lizard/v1/strikes?target=A&fault=fin", "", ""},
		{"GET", "/lizard/v1/messages?follow=false&device=dev1&hub=A&property=a%3Db&after=now", "", ""},
		{"GET", "/lizard/v1/messages?after=x-1", "", ""},
		{"PATCH", "/api/deviceTemplates/dtmi:x;1" + v, `{"capabilityModel":{"contents":[]},"displayName":null}`, ""},
		{"DELETE", "/api/deviceTemplates/dtmi:x;1" + v, "", ""},
		{"PUT", "/api/devices/dev1/attestation" + v, `{"symmetricKey":{"primaryKey":"YQ=="}}`, ""},
		{"GET", "/api/jobs/j" + v, "", ""},
		{"CONNECT", "#", "", ""},
		{"CONNECT", "//api/../%2e%2e/%00", "\xff", "Bearer \x00"},
		{"", "*", "", "Basic x"},
		{"OPTIONS", "https://localhost/a;b?c=%zz", "[", "bearer TOKEN"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, method, path, text, authorization string) {
		for _, header := range []string{
			strings.ReplaceAll(authorization, "TOKEN", "x"), strings.ReplaceAll(authorization, "TOKEN", server.token),
			"Bearer " + server.token,
		} {
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(10*time.Millisecond, cancel).Stop() // because a command may wait for its device
			r, err := http.NewRequestWithContext(ctx, method, "https://localhost", strings.NewReader(text))
			if err != nil {
				t.Skip()
			}
			if r.URL, err = r.URL.Parse(path); err != nil {
				t.Skip()
			}
			r.RequestURI, r.Host = path, "localhost"
			r.Header.Set("Authorization", header)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if err := judge(w, strings.Contains(header, server.token)); err != nil {
				t.Errorf("%q %q, authorization %q: %v", method, path, authorization, err)
			}
		}
		_ = cloud.Assign("dev1", "A") // the request may have deleted it
		_ = server.clearEverywhere("")
	})
}

func judge(w *httptest.ResponseRecorder, mayEnter bool) error {
	switch ok := w.Code >= 200 && w.Code < 300; {
	case !mayEnter && w.Code != http.StatusUnauthorized:
		return fmt.Errorf("without a token %d", w.Code)
	case w.Code == http.StatusInternalServerError:
		return fmt.Errorf("%d: %s", w.Code, w.Body)
	case w.Code == http.StatusOK && w.Header().Get("Content-Type") == "text/event-stream":
		return nil // messages_test.go tests its events
	case w.Code == http.StatusNoContent, w.Code == http.StatusBadRequest && w.Body.Len() == 0:
		return nil // the last is written by ServeMux
	default:
		var answer struct {
			Error *struct{ Code, Message string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			return fmt.Errorf("%d %q is no JSON: %w", w.Code, w.Body, err)
		}
		if !ok && (answer.Error == nil || answer.Error.Code == "" || answer.Error.Message == "") {
			return fmt.Errorf("%d %s is no error", w.Code, w.Body)
		}
	}
	return nil
}
