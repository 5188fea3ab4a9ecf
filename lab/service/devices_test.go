package service_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
)

// create creates a device at a hub and returns its keys.
func (w world) create(hub, id string) (primary, secondary string) {
	w.Helper()
	d := w.want(200, hub, "PUT", "/devices/"+id+hubVersion, "", fmt.Sprintf(`{"deviceId":%q}`, id))
	return at(d, "authentication.symmetricKey.primaryKey").(string),
		at(d, "authentication.symmetricKey.secondaryKey").(string)
}

func TestACreatedDeviceConnectsToItsHubWithBothKeys(t *testing.T) {
	w := onSockets(t)
	primary, secondary := w.create("B", "dev1")
	for _, key := range []string{primary, secondary} {
		w.mustConnect("B", "dev1", key)
	}
	d := w.want(200, "B", "GET", "/devices/dev1"+hubVersion, "", "")
	if at(d, "connectionState") != "Connected" || at(d, "connectionStateUpdatedTime") == "0001-01-01T00:00:00Z" {
		t.Errorf("it is shown as %v", d)
	}
	if _, err := w.connect("A", "dev1", primary); err == nil {
		t.Error("hub A accepts the device of hub B")
	}
	// after the renewal of one key, only the other one of before is accepted
	w.want(200, "B", "POST", "/devices/keys/regenerate"+hubVersion, "",
		`{"policyKey":"secondaryKey","devices":[{"id":"dev1"}]}`)
	w.mustConnect("B", "dev1", primary)
	if _, err := w.connect("B", "dev1", secondary); err == nil {
		t.Error("a renewed key is accepted under its old value")
	}
}

func TestADisabledDeviceIsDisconnectedAndRefused(t *testing.T) {
	w := onSockets(t)
	primary, _ := w.create("A", "dev1")
	w.mustConnect("A", "dev1", primary)
	w.want(200, "A", "PUT", "/devices/dev1"+hubVersion, `"*"`, `{"deviceId":"dev1","status":"disabled"}`)
	if w.Connected("dev1", "A") {
		t.Error("the disabled device is still connected")
	}
	if _, err := w.connect("A", "dev1", primary); err == nil {
		t.Error("the disabled device is accepted")
	}
	w.want(200, "A", "PUT", "/devices/dev1"+hubVersion, `"*"`, `{"deviceId":"dev1","status":"enabled"}`)
	w.mustConnect("A", "dev1", primary)
	w.want(204, "A", "DELETE", "/devices/dev1"+hubVersion, `"*"`, "")
	if _, err := w.connect("A", "dev1", primary); err == nil {
		t.Error("the deleted device is accepted")
	}
}

func TestAnETagInQuotesGuardsAgainstLostChanges(t *testing.T) {
	w := onSockets(t)
	w.create("A", "dev1")
	for _, c := range []struct{ path, body string }{
		{"/devices/dev1", `{"deviceId":"dev1","statusReason":"x"}`},
		{"/twins/dev1", `{"tags":{"a":1},"properties":{"desired":{"b":2}}}`},
	} {
		first := w.want(200, "A", "GET", c.path+hubVersion, "", "")["etag"].(string)
		second := w.want(200, "A", "PUT", c.path+hubVersion, `"`+first+`"`, c.body)["etag"].(string)
		if first == second {
			t.Errorf("%s: the change leaves the ETag %s", c.path, first)
		}
		r := w.request("A", "PUT", c.path+hubVersion, c.body)
		r.Header.Set("If-Match", `"`+first+`"`)
		w.wantHubError(w.do(r), http.StatusPreconditionFailed, "PreconditionFailed")
		// a real hub does not compare an ETag without quotes
		w.want(200, "A", "PUT", c.path+hubVersion, first, c.body)
		got := w.do(w.request("A", "GET", c.path+hubVersion, ""))
		if header := got.Header.Get("ETag"); header != `"`+at(decoded[any](w, got.text), "etag").(string)+`"` {
			t.Errorf("%s: the header has the ETag %s, the body %s", c.path, header, got.text)
		}
	}
}

func TestADeviceLearnsOfATwinThatABackEndChanges(t *testing.T) {
	w := onSockets(t)
	primary, _ := w.create("A", "dev1")
	d := w.mustConnect("A", "dev1", primary)
	received := func(want string) {
		t.Helper()
		if got := <-d.patches; got != want {
			t.Errorf("the device receives %s, want %s", got, want)
		}
	}
	w.want(200, "A", "PATCH", "/twins/dev1"+hubVersion, "",
		`{"tags":{"site":"x"},"properties":{"desired":{"a":1,"b":{"c":2}}}}`)
	received(`{"$version":2,"a":1,"b":{"c":2}}`)
	w.want(200, "A", "PATCH", "/twins/dev1"+hubVersion, "", `{"tags":{"site":null}}`)
	last := w.want(200, "A", "PUT", "/twins/dev1"+hubVersion, "", `{"properties":{"desired":{"b":{"d":3}}}}`)
	received(`{"$version":3,"a":null,"b":{"c":null,"d":3}}`)
	if got, _ := json.Marshal(at(last, "tags")); string(got) != "{}" {
		t.Errorf("the tags are %s", got)
	}
	desired, _, version, _ := w.Twin("dev1")
	if text, _ := json.Marshal(desired); string(text) != `{"b":{"d":3}}` || version != 3 {
		t.Errorf("the desired properties are %s, version %d", text, version)
	}
}

func TestADirectMethodIsAnsweredByTheDevice(t *testing.T) {
	w := onSockets(t)
	primary, _ := w.create("A", "dev1")
	w.mustConnect("A", "dev1", primary)
	const path = "/twins/dev1/methods" + hubVersion
	for body, want := range map[string]string{
		`{"methodName":"echo","payload":{"x":[1,null]}}`: `{"payload":{"x":[1,null]},"status":200}`,
		`{"methodName":"echo","payload":"text"}`:         `{"payload":"text","status":200}`,
		`{"methodName":"unknown"}`:                       `{"payload":null,"status":404}`,
	} {
		got := w.do(w.request("A", "POST", path, body))
		if got.StatusCode != 200 || strings.TrimSpace(got.text) != want {
			t.Errorf("%s: %d %s, want %s", body, got.StatusCode, got.text, want)
		}
	}
	w.wantHubError(w.do(w.request("A", "POST", path, `{"methodName":"a/+"}`)), 400, "ArgumentInvalid")
}

// The two timeouts of a call are those that the request names.
func TestADirectMethodWaitsForTheDeviceAndForItsAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, w world) {
		primary, _ := w.create("A", "dev1")
		call := func(method string, connect, response int) (reply, time.Duration) {
			begin := time.Now()
			got := w.do(w.request("A", "POST", "/twins/dev1/methods"+hubVersion, fmt.Sprintf(
				`{"methodName":%q,"connectTimeoutInSeconds":%d,"responseTimeoutInSeconds":%d}`,
				method, connect, response)))
			return got, time.Since(begin)
		}
		want := func(got reply, took, wanted time.Duration, status int, code float64) {
			t.Helper()
			text, _ := decoded[map[string]any](w, got.text)["Message"].(string)
			if got.StatusCode != status || took != wanted || at(decoded[any](w, text), "errorCode") != code {
				t.Errorf("%d %s after %v, want %d %v after %v", got.StatusCode, got.text, took, status, code, wanted)
			}
		}
		got, took := call("echo", 20, 5)
		want(got, took, 20*time.Second, http.StatusNotFound, 404103)
		w.mustConnect("A", "dev1", primary)
		got, took = call("mute", 0, 120) // longer than the 30 s of Config.MethodTimeout
		want(got, took, 2*time.Minute, http.StatusGatewayTimeout, 504101)
	})
}

// A back end that has gone must not leave a waiting call behind, and neither must Close.
func TestARequestEndsWithItsClientAndWithTheCloud(t *testing.T) {
	inBubble(t, func(t *testing.T, w world) {
		w.create("A", "dev1")
		ask := func(ctx context.Context) error {
			r := w.request("A", "POST", "/twins/dev1/methods"+hubVersion,
				`{"methodName":"m","connectTimeoutInSeconds":300}`).WithContext(ctx)
			got, err := w.client.Do(r)
			if err == nil {
				_, _ = io.Copy(io.Discard, got.Body)
				got.Body.Close()
				err = errors.New(got.Status)
			}
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the client's call ends with %v", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- ask(t.Context()) }()
		time.Sleep(time.Second)
		begin := time.Now()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err == nil || time.Since(begin) > 0 {
			t.Errorf("the call ends with %v, %v after Close", err, time.Since(begin))
		}
	})
}

func TestAClientThatSpeaksNeitherMQTTNorHTTPIsNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, w world) {
		raw, err := w.dial(t.Context(), "tcp", w.Hub("A"))
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(raw, &tls.Config{RootCAs: w.CAPool(), ServerName: "127.0.0.1"})
		defer conn.Close()
		fmt.Fprint(conn, "SSH-2.0-x\r\n")
		_, _ = io.ReadAll(conn)
		if broken := w.Violations(); len(broken) != 1 || !strings.Contains(broken[0], "MQTT 3.1.1 does not allow") {
			t.Errorf("violations: %q", broken)
		}
	})
}

func TestAListOfDevicesHasAtMostTheWantedNumber(t *testing.T) {
	w := onSockets(t)
	for i := range 3 {
		w.create("A", fmt.Sprintf("dev%d", i))
	}
	for query, want := range map[string]int{"": 3, "&top=2": 2, "&top=1000": 3} {
		got := w.do(w.request("A", "GET", "/devices/"+hubVersion+query, "")) // Node's SDK sends the slash
		if n := len(decoded[[]any](w, got.text)); n != want {
			t.Errorf("%q: %d devices: %s", query, n, got.text)
		}
	}
	stats := w.want(200, "A", "GET", "/statistics/devices"+hubVersion, "", "")
	if at(stats, "totalDeviceCount") != 3.0 || at(stats, "disabledDeviceCount") != 0.0 {
		t.Errorf("the statistics are %v", stats)
	}
}

func TestIdentitiesEnrollmentsAndRegistrationsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		config := emulator.Config{DataFile: filepath.Join(t.TempDir(), "cloud.json"), Listen: network.Listen}
		w := newWorld(t, config, network.DialContext)
		_, secondary := w.create("B", "dev1")
		w.want(200, "B", "PUT", "/devices/dev1"+hubVersion, `"*"`, `{"deviceId":"dev1","statusReason":"because"}`)
		w.want(200, "B", "PATCH", "/twins/dev1"+hubVersion, "", `{"tags":{"site":{"floor":1.50}}}`)
		_, own := w.enroll("dev2", "", w.static("B"))
		w.mustRegister("dev2", own)
		shown := map[string]string{}
		paths := map[string]string{
			"/devices/dev1" + hubVersion: "B", "/twins/dev1" + hubVersion: "B", "/devices/dev2" + hubVersion: "B",
			"/enrollmentGroups/default" + dpsVersion: dps,
		}
		for path, endpoint := range paths {
			shown[path] = w.do(w.request(endpoint, "GET", path, "")).text
		}
		w.client.CloseIdleConnections()
		w.Close()

		w = newWorld(t, config, network.DialContext)
		for path, endpoint := range paths {
			if now := w.do(w.request(endpoint, "GET", path, "")).text; now != shown[path] {
				t.Errorf("%s is now\n%s\nand was\n%s", path, now, shown[path])
			}
		}
		w.mustConnect("B", "dev1", secondary)
		r, err := w.RegistrationState("dev2")
		if err != nil || r.Status != "assigned" || r.AssignedHub != w.HubHost("B") {
			t.Errorf("the registration is %+v, %v", r, err)
		}
		if again := w.mustRegister("dev2", own); again.RegistrationState.AssignedHub != w.HubHost("B") {
			t.Errorf("the enrollment assigns %+v", again)
		}
	})
}

// A file that was written before there were enrollments has one key for each device, its own or that of
// the group.
func TestADataFileWithoutEnrollmentsIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		file := filepath.Join(t.TempDir(), "cloud.json")
		section := `{"properties":{},"version":1,"metadata":{"Updated":"2000-01-01T00:00:00Z","Version":1}}`
		own := strings.Repeat("cHJp", 10) + "cA=="
		text := `{"version":1,"serial":7,"devices":[`
		for id, key := range map[string]string{
			"grouped": derived(emulator.DevelopmentGroupKey, "grouped"), "own": own,
		} {
			text += fmt.Sprintf(`{"id":%q,"key":%q,"hub":"A","created":"2000-01-01T00:00:00Z","met":true,"desired":%s,`+
				`"reported":%[3]s},`, id, key, section)
		}
		if err := os.WriteFile(file, []byte(strings.TrimSuffix(text, ",")+"]}"), 0o600); err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, emulator.Config{DataFile: file, Listen: network.Listen}, network.DialContext)
		w.mustConnect("A", "own", own)
		w.mustRegister("own", own)
		w.mustConnect("A", "grouped", derived(w.GroupKey(), "grouped"))
		if _, err := w.register("own", derived(w.GroupKey(), "own")); err == nil {
			t.Error("DPS accepts the group's key for a device with a key of its own")
		}
		keys := w.want(200, dps, "POST", "/enrollmentGroups/default/attestationmechanism"+dpsVersion, "", "")
		w.mustRegister("grouped", derived(at(keys, "symmetricKey.secondaryKey").(string), "grouped"))
	})
}
