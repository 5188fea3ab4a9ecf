package service_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/lab/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hubVersion = "?api-version=2024-03-31"
	dpsVersion = "?api-version=2021-10-01"
	dps        = emulator.TargetDPS
)

// A world is a cloud with its service APIs, and an HTTP client.
type world struct {
	*emulator.Cloud
	*testing.T
	client *http.Client
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

func newWorld(t *testing.T, config emulator.Config,
	dial func(context.Context, string, string) (net.Conn, error)) world {
	t.Helper()
	w := world{Cloud: emulator.ForTest(t, config), T: t, dial: dial}
	if err := service.Serve(w.Cloud); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: w.CAPool()}}
	w.client = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	return w
}

// onSockets returns a world on real sockets.
func onSockets(t *testing.T) world {
	t.Helper()
	return newWorld(t, emulator.Config{RetryAfter: time.Second}, new(net.Dialer).DialContext)
}

// inBubble runs a test in memory with a fake clock.
func inBubble(t *testing.T, test func(t *testing.T, w world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		test(t, newWorld(t, emulator.Config{Listen: network.Listen}, network.DialContext))
	})
}

// access is a parsed connection string.
type access struct{ host, policy, key string }

func (w world) access(endpoint string) access {
	w.Helper()
	text, err := w.ServiceConnectionString(endpoint)
	if err != nil {
		w.Fatal(err)
	}
	fields := map[string]string{}
	for field := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	return access{fields["HostName"], fields["SharedAccessKeyName"], fields["SharedAccessKey"]}
}

// token signs a token as az does.
func (a access) token(expires time.Time) string {
	return sign(a.host, a.key, expires) + "&skn=" + a.policy
}

func sign(resource, key string, expires time.Time) string {
	secret, _ := base64.StdEncoding.DecodeString(key)
	sr := url.QueryEscape(resource)
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s\n%d", sr, expires.Unix())
	signature := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d", sr, signature, expires.Unix())
}

// request returns an authorized request to an endpoint.
func (w world) request(endpoint, method, path, body string) *http.Request {
	w.Helper()
	a := w.access(endpoint)
	r, err := http.NewRequestWithContext(w.Context(), method, "https://"+a.host+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Authorization", a.token(time.Now().Add(time.Hour)))
	return r
}

// A reply is an answer with its body.
type reply struct {
	*http.Response
	text string
}

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

// want sends a request, with the header If-Match if match is not empty, and returns the decoded answer
// of the wanted status.
func (w world) want(status int, endpoint, method, path, match, body string) map[string]any {
	w.Helper()
	r := w.request(endpoint, method, path, body)
	if match != "" {
		r.Header.Set("If-Match", match)
	}
	got := w.do(r)
	if got.StatusCode != status {
		w.Fatalf("%s %s: %d, want %d: %s", method, path, got.StatusCode, status, got.text)
	}
	if status == http.StatusNoContent {
		return nil
	}
	return decoded[map[string]any](w, got.text)
}

func decoded[V any](w world, text string) (value V) {
	w.Helper()
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	if err := decoder.Decode(&value); err != nil {
		w.Fatalf("%v: %s", err, text)
	}
	return value
}

// at returns the member of an answer at a path such as "properties.desired.$version".
func at(value any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}
