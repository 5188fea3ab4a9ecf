package central_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/central"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// apiToken has the format of IoT Central. No part of it may appear in output.
const apiToken = "SharedAccessSignature sr=8ed0b52f-75f9-4964-9287-008159218877" +
	"&sig=Canary4711%2Fsignature%2Bof%3D&skn=cli&se=1999999999000"

// An application is a stub of IoT Central that records the requests.
type application struct {
	*httptest.Server
	mu   sync.Mutex
	sent []string
}

// serve starts an application that answers requests with the status and body of answer.
func serve(t *testing.T, answer func(*http.Request) (int, string)) *application {
	t.Helper()
	a := &application{}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text := r.Method + " " + r.RequestURI
		for _, name := range []string{"Authorization", "Accept", "Content-Type", "Content-Length"} {
			if value := r.Header.Get(name); value != "" {
				text += "\n" + name + ": " + value
			}
		}
		if len(body) > 0 {
			text += "\n\n" + string(body)
		}
		a.mu.Lock()
		a.sent = append(a.sent, text)
		a.mu.Unlock()
		status, text := answer(r)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	a.Config.ErrorLog = quiet()
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func (a *application) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sent
}

func (a *application) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	return pool
}

func (a *application) client(t *testing.T) *central.Client {
	t.Helper()
	c, err := central.New(central.Config{URL: a.URL, Token: apiToken, Roots: a.roots()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func always(status int, body string) func(*http.Request) (int, string) {
	return func(*http.Request) (int, string) { return status, body }
}

func TestEachCallIsOneRequestInIoTCentralsFormat(t *testing.T) {
	type call = func(context.Context, *central.Client) (any, error)
	for name, c := range map[string]struct {
		call         call
		sent         string // without Authorization and Accept, which are always the same
		answer, want string // an empty want means the answer
	}{
		"failover": {
			func(ctx context.Context, c *central.Client) (any, error) { return c.Failover(ctx, "dev1", 5) },
			"POST /system/iothub/devices/dev1/manual-failover\nContent-Type: application/json\nContent-Length: " +
				"9\n\n{\"ttl\":5}",
			`{"hubIdentifier":"d3936b","message":"Success! Until 2026-01-02T03:04:05Z"}`, "",
		},
		"failover for as long as the application likes": {
			func(ctx context.Context, c *central.Client) (any, error) { return c.Failover(ctx, "dev1", 0) },
			"POST /system/iothub/devices/dev1/manual-failover\nContent-Type: application/json\nContent-Length: 2\n\n{}",
			`{"hubIdentifier":"d3936b","message":"Success!"}`, "",
		},
		"failback": {
			func(ctx context.Context, c *central.Client) (any, error) { return c.Failback(ctx, "dev1") },
			"POST /system/iothub/devices/dev1/manual-failback\nContent-Length: 0",
			`{"hubIdentifier":"e4","message":"It is back"}`, "",
		},
		"device": {
			func(ctx context.Context, c *central.Client) (any, error) { return c.Device(ctx, "dev1") },
			"GET /api/devices/dev1?api-version=2022-07-31",
			`{"displayName":"Dev \u003c1\u003e","etag":"e","id":"dev1","provisioned":true}`, "",
		},
		"a device with signs in its ID": {
			func(ctx context.Context, c *central.Client) (any, error) { return c.Device(ctx, "a/../b?c#d%e 1:@$'") },
			"GET /api/devices/a%2F..%2Fb%3Fc%23d%25e%201:@$%27?api-version=2022-07-31",
			`{}`, "",
		},
		"properties": {
			func(ctx context.Context, c *central.Client) (any, error) {
				return c.Properties(ctx, "dev1", central.Part{})
			},
			"GET /api/devices/dev1/properties?api-version=2022-07-31",
			`{"$metadata":{"fanSpeed":{"desiredValue":3}},"fanSpeed":12345678901234567890}`, "",
		},
		"a property called error": {
			func(ctx context.Context, c *central.Client) (any, error) {
				return c.Properties(ctx, "dev1", central.Part{Component: "pump"})
			},
			"GET /api/devices/dev1/components/pump/properties?api-version=2022-07-31",
			`{"error":{"code":17}}`, "",
		},
		"properties of a module": {
			func(ctx context.Context, c *central.Client) (any, error) {
				return c.Properties(ctx, "dev1", central.Part{Module: "m", Component: "c d"})
			},
			"GET /api/devices/dev1/modules/m/components/c%20d/properties?api-version=2022-07-31",
			`{}`, "",
		},
		"command": {
			func(ctx context.Context, c *central.Client) (any, error) {
				return c.Run(ctx, "dev1", central.Part{}, "echo", []byte("{\n \"request\": {\"a\": \"<b>\"}\n}\n"))
			},
			"POST /api/devices/dev1/commands/echo?api-version=2022-07-31\nContent-Type: application/json\n" +
				"Content-Length: 25\n\n{\"request\":{\"a\":\"<b>\"}}",
			`{"response":{"a":1},"responseCode":200}`, "",
		},
		"command of a component": {
			func(ctx context.Context, c *central.Client) (any, error) {
				return c.Run(ctx, "dev1", central.Part{Component: "pump"}, "start", []byte(`{"request":1}`))
			},
			"POST /api/devices/dev1/components/pump/commands/start?api-version=2022-07-31\n" +
				"Content-Type: application/json\nContent-Length: 13\n\n{\"request\":1}",
			``, "null",
		},
		"faults": {
			func(ctx context.Context, c *central.Client) (any, error) { return c.Faults(ctx) },
			"GET /lizard/v1/faults",
			`{"faults":[{"name":"fin","on":["hub","DPS"],"doc":"ends","parameters":["for","code"]}]}`,
			`[{"name":"fin","on":["hub","DPS"],"doc":"ends","parameters":["for","code"]}]`,
		},
		"strikes": {
			func(ctx context.Context, c *central.Client) (any, error) { return c.ActiveFaults(ctx) },
			"GET /lizard/v1/strikes",
			`{"strikes":[{"target":"A","fault":"fin","parameters":{"for":"30s"}}]}`,
			`[{"target":"A","fault":"fin","parameters":{"for":"30s"}}]`,
		},
		"inject": {
			func(ctx context.Context, c *central.Client) (any, error) {
				return c.Inject(ctx,
					central.Injection{Target: "A", Fault: "fin", Parameters: map[string]string{"for": "30s"}})
			},
			"POST /lizard/v1/strikes\nContent-Type: application/json\nContent-Length: 59\n\n" +
				`{"target":"A","fault":"fin","parameters":{"for":"30s"}}`,
			`{"target":"A","fault":"fin","parameters":{"for":"30s"}}`, "",
		},
		"inject without parameters": {
			func(ctx context.Context, c *central.Client) (any, error) {
				return c.Inject(ctx, central.Injection{Target: "DPS", Fault: "mute"})
			},
			"POST /lizard/v1/strikes\nContent-Type: application/json\nContent-Length: 48\n\n" +
				`{"target":"DPS","fault":"mute","parameters":{}}`,
			`{"target":"DPS","fault":"mute","parameters":{}}`, "",
		},
		"create a device": {
			func(ctx context.Context, c *central.Client) (any, error) { return c.CreateDevice(ctx, "dev 1", "B") },
			"PUT /lizard/v1/devices/dev%201\nContent-Type: application/json\nContent-Length: 11\n\n{\"hub\":\"B\"}",
			`{"deviceId":"dev 1","hub":"B","connectionString":"HostName=h;DeviceId=dev 1;SharedAccessKey=a2V5"}`, "",
		},
		"create a device at any hub": {
			func(ctx context.Context, c *central.Client) (any, error) { return c.CreateDevice(ctx, "dev1", "") },
			"PUT /lizard/v1/devices/dev1\nContent-Type: application/json\nContent-Length: 2\n\n{}",
			`{"deviceId":"dev1","hub":"A","connectionString":"HostName=h;DeviceId=dev1;SharedAccessKey=a2V5"}`, "",
		},
		"clear a fault": {
			func(ctx context.Context, c *central.Client) (any, error) { return nil, c.Clear(ctx, "dev/1&x", "fin") },
			"DELETE /lizard/v1/strikes?fault=fin&target=dev%2F1%26x",
			``, "null",
		},
		"clear a fault everywhere": {
			func(ctx context.Context, c *central.Client) (any, error) { return nil, c.Clear(ctx, "", "fin") },
			"DELETE /lizard/v1/strikes?fault=fin",
			``, "null",
		},
		"clear everything": {
			func(ctx context.Context, c *central.Client) (any, error) { return nil, c.Clear(ctx, "", "") },
			"DELETE /lizard/v1/strikes",
			``, "null",
		},
	} {
		t.Run(name, func(t *testing.T) {
			status := http.StatusOK
			if c.answer == "" {
				status = http.StatusNoContent
			}
			a := serve(t, always(status, c.answer))
			got, err := c.call(t.Context(), a.client(t))
			if err != nil {
				t.Fatal(err)
			}
			request, rest, _ := strings.Cut(c.sent, "\n")
			want := request + "\nAuthorization: " + apiToken + "\nAccept: application/json"
			if rest != "" {
				want += "\n" + rest
			}
			if sent := a.requests(); len(sent) != 1 || withoutLength(sent[0]) != withoutLength(want) {
				t.Errorf("it sent\n%q, want\n%q", sent, want)
			}
			text, err := json.Marshal(got)
			if c.want == "" {
				c.want = c.answer
			}
			if err != nil || string(text) != c.want {
				t.Errorf("it returned %s, %v; want %s", text, err, c.want)
			}
		})
	}
}

// withoutLength removes the Content-Length, which net/http checks, unless it is 0.
func withoutLength(request string) string {
	var lines []string
	for line := range strings.SplitSeq(request, "\n") {
		if !strings.HasPrefix(line, "Content-Length: ") || line == "Content-Length: 0" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func TestABearerTokenIsSentAsOne(t *testing.T) {
	for token, want := range map[string]string{
		"eyJ0eXAi.abc.def\n": "Bearer eyJ0eXAi.abc.def", "Bearer eyJ0eXAi": "Bearer eyJ0eXAi", apiToken +
			"\r\n": apiToken,
	} {
		a := serve(t, always(200, "{}"))
		c, err := central.New(central.Config{URL: a.URL, Token: token, Roots: a.roots()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Device(t.Context(), "dev1"); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(a.requests()[0], "\nAuthorization: "+want+"\n") {
			t.Errorf("%q was sent as %q", token, a.requests()[0])
		}
	}
}

func TestEachRequestHasItsOwnID(t *testing.T) {
	var ids sync.Map
	a := serve(t, func(r *http.Request) (int, string) {
		ids.Store(r.Header.Get("x-ms-client-request-id"), r.UserAgent())
		return 200, "{}"
	})
	for range 3 {
		if _, err := a.client(t).Device(t.Context(), "dev1"); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	ids.Range(func(id, agent any) bool {
		n++
		if len(id.(string)) != 36 || agent != "failover" {
			t.Errorf("the ID %q, the agent %q", id, agent)
		}
		return true
	})
	if n != 3 {
		t.Errorf("%d different IDs", n)
	}
}

func TestAnInvalidTokenIsRefusedAndNotQuoted(t *testing.T) {
	for _, token := range []string{
		"", " \n", "SharedAccessSignature ", "Bearer \n", "Canary4711 two words", "Canary4711\r\nX-Header: y",
		"Canary4711é",
	} {
		_, err := central.New(central.Config{URL: "https://myapp.azureiotcentral.com", Token: token})
		if err == nil || strings.Contains(err.Error(), "Canary4711") {
			t.Errorf("%q: %v", token, err)
		}
	}
}

func TestPrintingAClientShowsNoToken(t *testing.T) {
	c, err := central.New(central.Config{URL: "https://myapp.azureiotcentral.com", Token: apiToken})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, "Canary") {
		t.Error(text)
	}
}

func TestAnAddressIsTheApplicationAndTheSuffixOrTheSuffixAlone(t *testing.T) {
	for _, c := range []struct{ app, suffix, want string }{
		{"myapp", central.DefaultSuffix, "https://myapp.azureiotcentral.com"},
		{
			"8ed0b52f-75f9-4964-9287-008159218877", "azureiotcentral.us",
			"https://8ed0b52f-75f9-4964-9287-008159218877.azureiotcentral.us",
		},
		{"127", "0.0.1:8443", "https://127.0.0.1:8443"},
		{"", "https://127.0.0.1:8443/", "https://127.0.0.1:8443"},
		{"myapp", "https://other.example", "https://other.example"},
		// Addresses that would send the token to another host, or are not valid.
		{"myapp", "http://127.0.0.1:8443", ""},
		{"evil.example/", central.DefaultSuffix, ""},
		{"evil.example#", central.DefaultSuffix, ""},
		{"evil.example?", central.DefaultSuffix, ""},
		{"user@evil", central.DefaultSuffix, ""},
		{"my app", central.DefaultSuffix, ""},
		{"", central.DefaultSuffix, ""},
		{"myapp", "", ""},
		{"myapp", ".azureiotcentral.com", ""},
		{"myapp", "azureiotcentral.com/x", ""},
		{"", "https://", ""},
		{"", "https://u:p@127.0.0.1", ""},
		{"", "https://127.0.0.1/api", ""},
	} {
		got, err := central.Address(c.app, c.suffix)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q and %q are %q, %v", c.app, c.suffix, got, err)
		}
		if _, err := central.New(central.Config{URL: got, Token: "x"}); err != nil && c.want != "" {
			t.Errorf("%q: %v", got, err)
		}
	}
}

func TestANameThatWouldChangeThePathIsRefused(t *testing.T) {
	a := serve(t, always(200, "{}"))
	c := a.client(t)
	for _, name := range []string{"", ".", ".."} {
		_, one := c.Device(t.Context(), name)
		_, two := c.Failover(t.Context(), name, 1)
		_, three := c.Run(t.Context(), "dev1", central.Part{}, name, []byte("{}"))
		_, four := c.Registration(t.Context(), name)
		for _, err := range []error{one, two, three, four} {
			if err == nil || !strings.Contains(err.Error(), "is not a valid name") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	_, err := c.Run(t.Context(), "dev1", central.Part{}, "echo", []byte("{'a':1}"))
	if err == nil || !strings.Contains(err.Error(), "not JSON") {
		t.Errorf("a command's content: %v", err)
	}
	if sent := a.requests(); len(sent) > 0 {
		t.Errorf("it sent %q", sent)
	}
}

func TestAComponentIsFoundInTheTemplateOfTheDevice(t *testing.T) {
	template := `{"@id":"dtmi:x;1","capabilityModel":{"contents":[
		{"@type":"Property","name":"pump"},{"@type":["Command","DurableCommand"],"name":"start"},
		{"@type":"Component","name":"fan"},{"@type":["Component","Other"],"name":"motor"}]}}`
	a := serve(t, func(r *http.Request) (int, string) {
		if strings.HasPrefix(r.URL.Path, "/api/deviceTemplates/") {
			return 200, template
		}
		return 200, `{"id":"dev1","template":"dtmi:x;1"}`
	})
	found := map[string]bool{}
	for _, name := range []string{"fan", "motor", "pump", "start", "none"} {
		is, err := a.client(t).HasComponent(t.Context(), "dev1", name)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = is
	}
	want := map[string]bool{"fan": true, "motor": true, "pump": false, "start": false, "none": false}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("found: %v", found)
	}
	if sent := a.requests(); !strings.HasPrefix(sent[1],
		"GET /api/deviceTemplates/dtmi:x%3B1?api-version=2022-07-31\n") {
		t.Errorf("it sent %q", sent[1])
	}
	bare := serve(t, always(200, `{"id":"dev1"}`))
	if _, err := bare.client(t).HasComponent(t.Context(), "dev1", "fan"); err == nil ||
		!strings.Contains(err.Error(), "the device has no template") {
		t.Errorf("a device without a template: %v", err)
	}
}
