package control_test

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/control"
	"giantlizard.example/failover/lab/emulator"
)

// paths contains a path of each kind.
var paths = []string{"/api/devices" + version, "/system/iothub/devices/dev1/get-twin", "/lizard/v1/faults",
	"/nowhere", "/"}

func TestEachRequestNeedsTheToken(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	token := w.server.Token()
	if len(token) != 64 || strings.Trim(token, "0123456789abcdef") != "" {
		t.Fatalf("the token is no 32 bytes in hex: %d characters", len(token))
	}
	se := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).UnixMilli()) }
	later := se(time.Hour)
	sas := func(sr, sig, skn, se string) string {
		return "SharedAccessSignature sr=" + sr + "&sig=" + sig + "&skn=" + skn + "&se=" + se
	}
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Bearer x", "Bearer " + token[1:], "Bearer " + token + "0", "Bearer  " + token,
		"Bearer " + strings.ToUpper(token),
		"Basic " + token, token, "Bearer " + strings.Repeat("0", 64),
		"SharedAccessSignature", "SharedAccessSignature " + token, "SharedAccessSignature sig=" + token,
		sas("x", "y", "t", later), sas("x", token[1:], "t", later), sas("x", token, "t", se(-time.Second)),
		sas("x", token, "t", "soon"),
		sas("x", token, "t", ""), sas("x", token, "", later), sas("", token, "t", later), sas("x", "%zz", "t", later),
		// in seconds; as milliseconds it is long ago
		sas("x", token, "t", fmt.Sprint(time.Now().Add(time.Hour).Unix())),
		sas("x", token, "t", later) + "&se=" + later, sas("x", token, "t", later) + "&more=1",
		"SharedAccessSignature sr=x&sig=" + token + "&skn=t",
	} {
		for _, path := range paths {
			r := w.request("GET", path, "")
			r.Header.Set("Authorization", header)
			answer := w.do(r)
			answer.wantError(t, 401, "Unauthorized", "not authorized")
			if strings.Contains(answer.text, token[8:40]) {
				t.Errorf("%q: the answer has the token in it", header)
			}
		}
	}
	without := w.request("GET", paths[0], "")
	without.Header.Del("Authorization")
	w.do(without).wantError(t, 401, "Unauthorized", "one Authorization header")
	twice := w.request("GET", paths[0], "")
	twice.Header.Add("Authorization", "Bearer "+token)
	w.do(twice).wantError(t, 401, "Unauthorized", "one Authorization header")

	for _, header := range []string{
		"Bearer " + token, "bearer " + token, sas("app", token, "operator", later),
		sas("app", url.QueryEscape(token), "t", later),
		"SharedAccessSignature se=" + later + "&skn=t&sig=%" + fmt.Sprintf("%X", token[0]) + token[1:] + "&sr=x",
	} {
		r := w.request("GET", paths[0], "")
		r.Header.Set("Authorization", header)
		if got := w.do(r); got.StatusCode != http.StatusOK {
			t.Errorf("%.30s…: %d %s", header, got.StatusCode, got.text)
		}
	}
}

func TestASignatureExpiresAtItsMillisecond(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		r := func() *http.Request {
			r := w.request("GET", "/lizard/v1/faults", "")
			se := time.Date(2000, 1, 1, 0, 0, 5, 0, time.UTC).UnixMilli()
			r.Header.Set("Authorization",
				fmt.Sprintf("SharedAccessSignature sr=x&sig=%s&skn=t&se=%d", w.server.Token(), se))
			return r
		}
		time.Sleep(5*time.Second - time.Millisecond)
		if got := w.do(r()); got.StatusCode != http.StatusOK {
			t.Errorf("a millisecond before: %d", got.StatusCode)
		}
		time.Sleep(time.Millisecond)
		w.do(r()).wantError(t, 401, "Unauthorized", "expired")
	})
}

func TestEachServerHasItsOwnToken(t *testing.T) {
	if a, b := onSockets(t), onSockets(t); a.server.Token() == b.server.Token() {
		t.Error("two paths have one token")
	}
}

func TestARequestOfAWebPageIsRefused(t *testing.T) {
	w := onSockets(t)
	for _, path := range paths {
		for _, origin := range []string{"https://example.com", "null", "", w.server.URL()} {
			for _, authorization := range []string{"Bearer " + w.server.Token(), ""} { // with and without the token
				r := w.request("POST", path, "")
				r.Header["Origin"] = []string{origin}
				r.Header.Set("Authorization", authorization)
				w.do(r).wantError(t, 403, "Forbidden", "web page")
			}
		}
	}
}

// DNS rebinding: a foreign name that resolves to this machine.
func TestAForeignHostIsRefused(t *testing.T) {
	w := onSockets(t)
	for host, status := range map[string]int{
		"127.0.0.1:8443": 200, "127.0.0.1": 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]:8443": 200, "[::1]": 200,
		"127.1.2.3:5": 200,
		"example.com": 403, "example.com:8443": 403, "127.0.0.1.example.com": 403, "localhost.example.com:8443": 403,
		"192.0.2.1":          403,
		"[2001:db8::1]:8443": 403, "0.0.0.0": 403, "evil.localhost": 403, "2130706433": 403,
	} {
		r := w.request("GET", "/lizard/v1/faults", "")
		r.Host = host
		if got := w.do(r); got.StatusCode != status {
			t.Errorf("Host %s: %d, want %d", host, got.StatusCode, status)
		} else if status == 403 {
			got.wantError(t, 403, "Forbidden", "Host")
		}
	}
}

func TestTheHostOfTheConfigurationIsAllowed(t *testing.T) {
	w := onSockets(t)
	var address string
	listen := func(string) (net.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			address = l.Addr().String()
		}
		return l, err
	}
	server, err := control.Start(control.Config{Cloud: w.Cloud, Host: "lab.example", Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for host, status := range map[string]int{
		"lab.example": 200, "LAB.example:8443": 200, "127.0.0.1": 200, "another.example": 403,
	} {
		r, err := http.NewRequest("GET", "https://"+address+"/lizard/v1/faults", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Authorization", "Bearer "+server.Token())
		if got := w.do(r); got.StatusCode != status {
			t.Errorf("Host %s: %d, want %d", host, got.StatusCode, status)
		}
	}
}
