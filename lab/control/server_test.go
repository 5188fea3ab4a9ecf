package control_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/control"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	device  = "dev1"
	version = "?api-version=2022-07-31"
	model   = "dtmi:Sample:Failover;1"
)

// A world is a cloud with its control API and an HTTP client that has the token.
type world struct {
	*emulator.Cloud
	*testing.T
	server *control.Server
	client *http.Client
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

func newWorld(t *testing.T, config emulator.Config,
	dial func(context.Context, string, string) (net.Conn, error)) world {
	t.Helper()
	w := world{Cloud: emulator.ForTest(t, config), T: t, dial: dial}
	server, err := control.Start(control.Config{Cloud: w.Cloud, Listen: config.Listen})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: w.CAPool()},
		DisableCompression: true}
	w.server, w.client = server, &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// onSockets returns a world on real sockets.
func onSockets(t *testing.T) world {
	t.Helper()
	return newWorld(t, emulator.Config{}, new(net.Dialer).DialContext)
}

// inBubble runs a test in memory with a fake clock. A goroutine that does not end is a deadlock and
// fails the test.
func inBubble(t *testing.T, config emulator.Config, test func(t *testing.T, w world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		config.Listen = network.Listen
		test(t, newWorld(t, config, network.DialContext))
	})
}

// A reply is an answer of the server.
type reply struct {
	*http.Response
	text string
}

// do sends a request unchanged.
func (w world) do(r *http.Request) reply {
	w.Helper()
	answer, err := w.client.Do(r)
	if err != nil {
		w.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	return reply{answer, string(text)}
}

func (w world) request(method, path, body string) *http.Request {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.server.URL()+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.server.Token())
	return r
}

// want sends a request with the token and checks the status. It returns the decoded answer.
func (w world) want(status int, method, path, body string) map[string]any {
	w.Helper()
	got := w.do(w.request(method, path, body))
	if got.StatusCode != status {
		w.Fatalf("%s %s: %d, want %d: %s", method, path, got.StatusCode, status, got.text)
	}
	if status == http.StatusNoContent {
		if got.text != "" {
			w.Errorf("%s %s: 204 has the body %q", method, path, got.text)
		}
		return nil
	}
	return got.object(w.T)
}

// wantError checks that the answer is this problem, in IoT Central's format.
func (w world) wantError(status int, code, part, method, path, body string) {
	w.Helper()
	got := w.do(w.request(method, path, body))
	got.wantError(w.T, status, code, part)
}

func (r reply) wantError(t *testing.T, status int, code, part string) {
	t.Helper()
	what := r.Request.Method + " " + r.Request.URL.RequestURI()
	var body struct {
		Error struct{ Code, Message, RequestID, Time string }
	}
	decoder := json.NewDecoder(strings.NewReader(r.text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		t.Fatalf("%s: %d %q is no error of IoT Central's: %v", what, r.StatusCode, r.text, err)
	}
	e := body.Error
	if r.StatusCode != status || e.Code != code || !strings.Contains(e.Message, part) {
		t.Errorf("%s: %d %s %q, want %d %s …%s…", what, r.StatusCode, e.Code, e.Message, status, code, part)
	}
	if _, err := time.Parse(http.TimeFormat, e.Time); err != nil || e.RequestID == "" ||
		r.Header.Get("x-ms-error-code") != code {
		t.Errorf("%s: request %q at %q, header %q", what, e.RequestID, e.Time, r.Header.Get("x-ms-error-code"))
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		t.Errorf("%s: an error of type %q", what, r.Header.Get("Content-Type"))
	}
}

func (r reply) object(t *testing.T) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(r.text), &o); err != nil {
		t.Fatalf("%s is no object: %v", r.text, err)
	}
	return o
}

// wantJSON compares a value with JSON.
func wantJSON(t *testing.T, got any, want string) {
	t.Helper()
	var wanted any
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(got)
	var again any
	_ = json.Unmarshal(text, &again)
	if !reflect.DeepEqual(again, wanted) {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestCloseDoesNotWaitForRequests(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		g.mute.Store(true)
		ended := make(chan error, 1)
		go func() {
			answer, err := w.client.Do(w.request("POST", "/api/devices/dev1/commands/echo"+version, `{}`))
			if err == nil {
				_, err = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
			ended <- err
		}()
		idle, err := w.dial(t.Context(), "tcp", strings.TrimPrefix(w.server.URL(), "https://")) // it sends nothing
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		synctest.Wait()
		began := time.Now()
		for range 2 {
			if err := w.server.Close(); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
		<-ended
		if _, err := w.dial(t.Context(), "tcp", strings.TrimPrefix(w.server.URL(), "https://")); err == nil {
			t.Error("somebody still listens")
		}
	})
}

func TestASlowClientIsDisconnected(t *testing.T) {
	const known = "Host: localhost\r\nAuthorization: Bearer TOKEN\r\n"
	for what, c := range map[string]struct {
		says  string
		after time.Duration
	}{
		"its TLS hello": {"", 10 * time.Second},
		"its headers":   {"GET /api/devices HTTP/1.1\r\n", 10 * time.Second},
		"its body": {
			"POST /lizard/v1/strikes HTTP/1.1\r\n" + known + "Content-Length: 9\r\n\r\n{", 30 * time.Second,
		},
		"another request": {"GET /lizard/v1/faults HTTP/1.1\r\n" + known + "\r\n", time.Minute},
	} {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			conn, err := w.dial(t.Context(), "tcp", strings.TrimPrefix(w.server.URL(), "https://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if c.says != "" {
				conn = tls.Client(conn, &tls.Config{RootCAs: w.CAPool(), ServerName: "localhost"})
				if _, err := io.WriteString(conn, strings.ReplaceAll(c.says, "TOKEN", w.server.Token())); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			_, _ = io.Copy(io.Discard, conn)
			if took := time.Since(began); took < c.after || took > c.after+time.Second {
				t.Errorf("without %s: left after %v, want %v", what, took, c.after)
			}
		})
	}
}

func TestAPortInUseIsAnError(t *testing.T) {
	w := onSockets(t)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(w.server.URL(), "https://"))
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Start(control.Config{Cloud: w.Cloud, Port: n}); err == nil ||
		!strings.Contains(err.Error(), port) {
		t.Errorf("it says %v", err)
	}
}

func TestTheCertificateIsValidForEveryNameOfThisMachine(t *testing.T) {
	w := onSockets(t)
	address := strings.TrimPrefix(w.server.URL(), "https://")
	for name, good := range map[string]bool{
		"127.0.0.1": true, "localhost": true, "::1": true, "192.0.2.1": false, "example.com": false,
	} {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: w.CAPool(), ServerName: name})
		if (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	for _, version := range []uint16{tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", address,
			&tls.Config{RootCAs: w.CAPool(), MinVersion: version, MaxVersion: version})
		if (err == nil) != (version >= tls.VersionTLS12) {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			conn.Close()
		}
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn,
		"GET /api/devices HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+w.server.Token()+"\r\n\r\n")
	if text, _ := io.ReadAll(conn); !bytes.HasPrefix(text, []byte("HTTP/1.0 400")) {
		t.Errorf("without TLS it answers %q", text)
	}
}

func TestTheServerListensOnEveryLoopbackAddress(t *testing.T) {
	w := onSockets(t)
	for _, host := range []string{"localhost", "127.0.0.2", "::1"} {
		server, err := control.Start(control.Config{Cloud: w.Cloud, Host: host})
		if err != nil {
			t.Logf("%s: %v", host, err) // not all machines have it
			continue
		}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL()+"/lizard/v1/faults", nil)
		r.Header.Set("Authorization", "Bearer "+server.Token())
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.CAPool(), ServerName: "localhost"}}
		answer, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %v %v", host, answer, err)
		} else {
			answer.Body.Close()
		}
		transport.CloseIdleConnections()
		server.Close()
	}
}
