//go:build unix

package main_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

const (
	emulatorToken = "c0ffee4711c0ffee4711c0ffee4711c0ffee4711c0ffee4711c0ffee4711c0ff"
	apiToken      = "SharedAccessSignature " +
		"sr=8ed0b52f-75f9-4964-9287-008159218877&sig=Canary4711%2Fsignature%2Bof%3D&skn=cli&se=1999999999000"
	hubA = "d3936bfa327fe0dbdf65d2cf9c5f521a1807bd8972d8d7212165a65d8af73c71"
)

// A controlStub is a stub of IoT Central and of the emulator's control API. It records the
// requests.
type controlStub struct {
	*httptest.Server
	ca      string // PEM
	mu      sync.Mutex
	asked   []string // method, address, token and body
	strikes []map[string]any
	refuse  func(w http.ResponseWriter, r *http.Request) bool
}

func newControlStub(t *testing.T) *controlStub {
	t.Helper()
	s := &controlStub{strikes: []map[string]any{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	s.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return s
}

func (s *controlStub) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	request := r.Method + " " + r.RequestURI + " " + r.Header.Get("Authorization") + " " + string(body)
	s.asked = append(s.asked, strings.TrimSpace(request))
	if s.refuse != nil && s.refuse(w, r) {
		return
	}
	const device, system = "/api/devices/dev1", "/system/iothub/devices/dev1"
	var answer string
	switch r.Method + " " + r.URL.Path {
	case "POST " + system + "/manual-failover":
		answer = `{"message":"Success! It returns at 2026-01-02T03:04:05Z","hubIdentifier":"` + hubA + `"}`
	case "POST " + system + "/manual-failback":
		answer = `{"hubIdentifier":"` + hubA + `","message":"It is back <home>"}`
	case "GET " + device:
		answer = `{"id":"dev1","displayName":"Dev 1","enabled":true,"provisioned":true,` +
			`"template":"dtmi:x;1","simulated":false,"organizations":[]}`
	case "GET /api/deviceTemplates/dtmi:x;1":
		answer = `{"capabilityModel":{"contents":[{"@type":"Component","name":"pump"}]}}`
	case "GET " + device + "/properties":
		answer = `{"fanSpeed":3,"$metadata":{"fanSpeed":{"desiredValue":3}}}`
	case "GET " + device + "/components/pump/properties":
		answer = `{"on":true}`
	case "GET " + device + "/modules/m/properties":
		answer = `{"m":1}`
	case "GET " + device + "/modules/m/components/c/properties":
		answer = `{"c":1}`
	case "POST " + device + "/commands/echo":
		answer = `{"response":{"a":1},"responseCode":200}`
	case "POST " + device + "/components/pump/commands/start":
		answer = `{"response":null,"responseCode":200}`
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/lizard/v1/"):
		s.lizard(w, r, body)
	case answer == "":
		complain(w, 404, "NotFound", "there is no device of this ID")
	default:
		_, _ = io.WriteString(w, answer)
	}
}

// lizard serves the API for faults.
func (s *controlStub) lizard(w http.ResponseWriter, r *http.Request, body []byte) {
	switch r.Method + " " + r.URL.Path {
	case "GET /lizard/v1/faults":
		all := []map[string]any{}
		for _, f := range emulator.Faults() {
			all = append(all, map[string]any{"name": f.Name, "on": f.Targets, "doc": f.Description,
				"parameters": append([]string{"for"}, f.Parameters...)})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"faults": all})
	case "GET /lizard/v1/strikes":
		_ = json.NewEncoder(w).Encode(map[string]any{"strikes": s.strikes})
	case "DELETE /lizard/v1/strikes":
		target := r.URL.Query().Get("target")
		s.strikes = slices.DeleteFunc(s.strikes,
			func(strike map[string]any) bool { return target == "" || strike["target"] == target })
		w.WriteHeader(204)
	case "POST /lizard/v1/strikes":
		var strike map[string]any
		_ = json.Unmarshal(body, &strike)
		known := slices.ContainsFunc(emulator.Faults(),
			func(f emulator.FaultInfo) bool { return string(f.Name) == strike["fault"] })
		if !known {
			complain(w, 400, "InvalidParameter", fmt.Sprintf("there is no fault %q", strike["fault"]))
			return
		}
		s.strikes = append(s.strikes, strike)
		w.WriteHeader(201)
		_ = json.NewEncoder(w).Encode(strike)
	default:
		complain(w, 405, "MethodNotAllowed", "no")
	}
}

func complain(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": code, "message": message}})
}

// requests returns the requests since the last call. All of them must have the token, which is left
// out.
func (s *controlStub) requests(t *testing.T, token string) []string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.asked
	s.asked = nil
	for i, request := range all {
		all[i] = strings.TrimSpace(strings.Replace(request, " "+token, "", 1))
		if all[i] == request {
			t.Errorf("the token is not in %q", request)
		}
	}
	return all
}

// controlFile writes a control file for the stub, and returns the environment in which a command
// finds it.
func (s *controlStub) controlFile(t *testing.T) []string {
	t.Helper()
	text, err := json.Marshal(map[string]string{"url": s.URL, "token": emulatorToken, "ca": s.ca})
	must(t, err)
	return []string{"FAILOVER_CONTROL_FILE=" + file(t, "emulator.json", string(text))}
}

// port returns the port of the stub.
func (s *controlStub) port() string { return s.URL[strings.LastIndex(s.URL, ":")+1:] }
