package central_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/central"
)

const emulatorToken = "c0ffee4711c0ffee4711c0ffee4711c0ffee4711c0ffee4711c0ffee4711c0ff"

// controlFile writes a control file that leads to this application.
func controlFile(t *testing.T, a *application) string {
	t.Helper()
	text, err := json.Marshal(map[string]string{
		"url": a.URL, "token": emulatorToken,
		"ca": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, string(text))
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "emulator.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheEmulatorIsFoundByItsControlFile(t *testing.T) {
	a := serve(t, always(200, `{"strikes":[]}`))
	c, err := central.Emulator(controlFile(t, a))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ActiveFaults(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sent := a.requests(); c.URL() != a.URL ||
		!strings.Contains(sent[0], "\nAuthorization: Bearer "+emulatorToken+"\n") {
		t.Errorf("%s was sent %q", c.URL(), sent)
	}
}

func TestWithoutAnEmulatorTheErrorSaysWhatToDo(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "emulator.json")
	for file, want := range map[string]string{
		missing: "central: no emulator runs on this machine (there is no " + missing +
			"): start one with failover emulator",
		t.TempDir():   "is a directory",
		write(t, ""):  "is damaged: restart the emulator",
		write(t, "{"): "is damaged",
		write(t, `{"url":"https://127.0.0.1:1","token":"`+emulatorToken+`"}`):               "is damaged",
		write(t, `{"url":"http://127.0.0.1:1","token":"`+emulatorToken+`","ca":"x"}`):       "is damaged",
		write(t, `{"url":"https://127.0.0.1:1","token":{"x":"`+emulatorToken+`"},"ca":""}`): "is damaged",
	} {
		_, err := central.Emulator(file)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), emulatorToken) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

func TestTheErrorNamesTheControlFileOfAnEmulatorThatDoesNotRun(t *testing.T) {
	gone, other := serve(t, always(200, "{}")), serve(t, always(200, "{}"))
	file := controlFile(t, gone)
	gone.Close()
	c, err := central.Emulator(file)
	if err != nil {
		t.Fatal(err)
	}
	want := ": the emulator that wrote " + file + " seems to run no longer; start one with failover emulator"
	if e := failure(t, t.Context(), c); !strings.Contains(e.Error(), "connection refused)"+want) {
		t.Errorf("the error is %s", e)
	}
	// Another program uses the port.
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _ := selfSigned(t, func(*x509.Certificate) {})
	ca, _ := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
		Bytes: certificate.Certificate[0]})))
	var old map[string]json.RawMessage
	if err := json.Unmarshal(text, &old); err != nil {
		t.Fatal(err)
	}
	old["ca"], old["url"] = ca, json.RawMessage(`"`+other.URL+`"`)
	text, _ = json.Marshal(old)
	file = write(t, string(text))
	if c, err = central.Emulator(file); err != nil {
		t.Fatal(err)
	}
	if e := failure(t, t.Context(), c); !strings.Contains(e.Error(), "is not trusted (") ||
		!strings.HasSuffix(e.Error(), "start one with failover emulator") {
		t.Errorf("the error is %s", e)
	}
	if len(other.requests()) > 0 {
		t.Error("the token went to something else")
	}
}

// The emulator's message contains the next step.
func TestTheEmulatorsErrorsHaveNoOtherNextStep(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusConflict: "answered 409 Conflict (fail it back first)",
		http.StatusNotFound: "answered 404 Conflict (fail it back first)",
		http.StatusUnauthorized: "answered 401 Conflict (fail it back first): the emulator was restarted meanwhile; " +
			"try again",
	} {
		c, err := central.Emulator(controlFile(t,
			serve(t, always(status, `{"error":{"code":"Conflict","message":"fail it back first"}}`))))
		if err != nil {
			t.Fatal(err)
		}
		if e := failure(t, t.Context(), c); e.Error() != "central: "+e.Host+" "+want {
			t.Errorf("%d: %s", status, e)
		}
	}
}

func TestTheControlFileIsInTheUsersCache(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/cache")
	t.Setenv("HOME", "/home/x")
	if file, err := central.DefaultFile(); err != nil || filepath.Base(file) != "emulator.json" ||
		filepath.Base(filepath.Dir(file)) != "failover" {
		t.Errorf("%s, %v", file, err)
	}
}
