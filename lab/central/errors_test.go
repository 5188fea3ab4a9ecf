package central_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/central"
)

// quiet returns a logger for servers, which otherwise log each client that disconnects.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// answering returns a client of an application with this handler.
func answering(t *testing.T, handler http.HandlerFunc) *central.Client {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return (&application{Server: server}).client(t)
}

func withBody(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// failure requests a device and returns the Error.
func failure(t *testing.T, ctx context.Context, c *central.Client) *central.Error {
	t.Helper()
	_, err := c.Device(ctx, "dev1")
	var e *central.Error
	if !errors.As(err, &e) {
		t.Fatalf("no central.Error: %v", err)
	}
	return e
}

func TestEachErrorAnswerIsOneSentenceWithTheNextStep(t *testing.T) {
	const said = `{"error":{"code":"TheCode","message":"The message. You can\n contact support.",` +
		`"requestId":"req-17","time":"Mon"}}`
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // after the host
	}{
		{"400", withBody(400, said), "answered 400 TheCode (The message. You can contact support)"},
		{"422", withBody(422, said), "answered 422 TheCode (The message. You can contact support)"},
		{
			"401", withBody(401, said),
			"answered 401 TheCode (The message. You can contact support): the token has expired, " +
				"was revoked or is for another application; make one in IoT Central, Permissions, API tokens",
		},
		{
			"403", withBody(403, said),
			"answered 403 TheCode (The message. You can contact support): the role of the token does not allow this; " +
				"use a token whose role may manage devices",
		},
		{
			"404", withBody(404, said),
			"answered 404 TheCode (The message. You can contact support): " +
				"check the ID of the device and that of the application",
		},
		{
			"409", withBody(409, said),
			"answered 409 TheCode (The message. You can contact support): " +
				"it does not fit what the device is doing now; " +
				"look at the device, and try again when that is over",
		},
		{
			"412", withBody(412, said),
			"answered 412 TheCode (The message. You can contact support): " +
				"it does not fit what the device is doing now; " +
				"look at the device, and try again when that is over",
		},
		{
			"429", withBody(429, said, "Retry-After", "12"),
			"answered 429 TheCode (The message. You can contact support): too many requests; try again in 12s",
		},
		{
			"429 and no time", withBody(429, said, "Retry-After", "soon"),
			"answered 429 TheCode (The message. You can contact support): too many requests; try again in a minute",
		},
		{
			"500", withBody(500, said),
			"answered 500 TheCode (The message. You can contact support): try again later; " +
				"support will ask for the request req-17",
		},
		{
			"503", withBody(503, `{"error":{"code":"Busy","message":"Wait."}}`),
			"answered 503 Busy (Wait): try again later",
		},
		{"200 that is an error", withBody(200, said), "answered 200 TheCode (The message. You can contact support)"},
		{
			"an error that is a text", withBody(404, `{"error":"gone"}`),
			"answered 404 (gone): check the ID of the device and that of the application",
		},
		{
			"DPS's shape", withBody(401, `{"errorCode":401002,"trackingId":"t","message":"Invalid certificate."}`),
			"answered 401 401002 (Invalid certificate): the token has expired, " +
				"was revoked or is for another application; " +
				"make one in IoT Central, Permissions, API tokens",
		},
		{
			"another shape", withBody(404, `[1,2]`),
			"answered 404: check the ID of the device and that of the application",
		},
		{"no body", withBody(418, ""), "answered 418: check the address, the device and what was asked"},
		{"a proxy's page",
			withBody(502, "<html>Canary4711 of the proxy</html>", "Content-Type", "text/html; charset=utf-8"),
			"answered 502 (text/html that is not IoT Central's): check the ID of the application, the DNS suffix, " +
				"and whether a proxy answers instead"},
		{"a page that is all right", withBody(200, "<html>", "Content-Type", "text/html"),
			"answered 200 (text/html that is not IoT Central's): check the ID of the application, the DNS suffix, " +
				"and whether a proxy answers instead"},
		{"half an answer", withBody(200, `{"id":"dev1"`, "Content-Type", "application/json"),
			"answered 200 (application/json that is not IoT Central's): check the ID of the application, " +
				"the DNS suffix, " +
				"and whether a proxy answers instead"},
		{"too long", withBody(200, `"`+strings.Repeat("x", 1<<20)+`"`),
			"answered 200 (more than 1048576 bytes): check the address, and whether a proxy answers instead"},
		{
			"a redirect to an invalid address", withBody(304, ""),
			"answered 304 (a redirect to an invalid address): redirects are not followed, to protect the token; " +
				"if this is the application, give its address",
		},
		{"what would move the cursor",
			withBody(404, `{"error":{"code":"\u001b[2J","message":"a\u001b]0;b\u0007\u202ec\r\nd"}}`),
			"answered 404 \ufffd[2J (a\ufffd]0;b\ufffd\ufffdc d): " +
				"check the ID of the device and that of the application"},
		{"many words", withBody(404, `{"error":{"message":"`+strings.Repeat("é", 5000)+`"}}`),
			"answered 404 (" + strings.Repeat("é", 400) +
				" …): check the ID of the device and that of the application"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := failure(t, t.Context(), answering(t, c.answer))
			if want := "central: " + e.Host + " " + c.want; e.Error() != want || e.Host == "" {
				t.Errorf("it says\n%s, want\n%s", e, want)
			}
		})
	}
}

func TestAPropertyMayBeNamedError(t *testing.T) {
	for _, body := range []string{
		`{"error":{"code":"E7"}}`, `{"error":{"message":"hot"}}`, `{"error":"hot"}`, `{"error":7}`,
	} {
		for status := 200; status <= 201; status++ {
			if _, err := answering(t, withBody(status, body)).Device(t.Context(), "dev1"); err != nil {
				t.Errorf("%d %s: %v", status, body, err)
			}
		}
	}
}

func TestRetryAfterIsPartOfTheError(t *testing.T) {
	const body = `{"error":{"code":"TooManyRequests","message":"m"}}`
	for text, want := range map[string]time.Duration{
		"7": 7 * time.Second, "": 0, "-7": 0, "x": 0, "18446744074": 0, "Mon, 02 Jan 2006 15:04:05 GMT": 0,
	} {
		e := failure(t, t.Context(), answering(t, withBody(429, body, "Retry-After", text)))
		if e.RetryAfter != want || e.Status != 429 || e.Code != "TooManyRequests" {
			t.Errorf("%q: %+v", text, e)
		}
	}
	later := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	e := failure(t, t.Context(), answering(t, withBody(429, body, "Retry-After", later)))
	if e.RetryAfter < 59*time.Minute || e.RetryAfter > time.Hour {
		t.Errorf("in an hour: %s", e.RetryAfter)
	}
}

// If an answer repeats the token, in any form, the error does not contain it.
func TestNoErrorHoldsTheToken(t *testing.T) {
	signature, _ := url.QueryUnescape("Canary4711%2Fsignature%2Bof%3D")
	word := strings.TrimPrefix(apiToken, "SharedAccessSignature ")
	forms := []string{apiToken, word, url.QueryEscape(word), signature, url.QueryEscape(signature),
		url.QueryEscape(url.QueryEscape(signature)),
		"Canary4711%2fsignature%2bof%3d"}
	for _, form := range forms {
		for name, answer := range map[string]http.HandlerFunc{
			"message": withBody(401,
				`{"error":{"code":"Unauthorized","message":"no `+form+` here","requestId":"`+form+`"}}`),
			"code":         withBody(500, `{"error":{"code":"`+form+`","message":"m","requestId":"`+form+`"}}`),
			"text":         withBody(401, `{"error":"`+form+`"}`),
			"page":         withBody(502, "<p>"+form),
			"content type": withBody(502, "<p>", "Content-Type", form),
			"redirect":     withBody(302, "", "Location", "https://sig.example/"+form+"?"+form),
		} {
			e := failure(t, t.Context(), answering(t, answer))
			for _, secret := range append(forms, "Canary4711", "signature") {
				if strings.Contains(e.Error()+e.Code+e.What+e.Next, secret) {
					t.Errorf("%s: %s", name, e)
					break
				}
			}
		}
	}
}

func TestATokenFollowsNoRedirect(t *testing.T) {
	elsewhere := serve(t, always(200, "{}"))
	for _, status := range []int{301, 302, 303, 307, 308} {
		e := failure(t, t.Context(), answering(t, withBody(status, "", "Location", elsewhere.URL+"/api/devices/dev1")))
		if want := "(a redirect to " + elsewhere.URL + ")"; !strings.Contains(e.Error(), want) {
			t.Errorf("%d: no %q in %s", status, want, e)
		}
	}
	if sent := elsewhere.requests(); len(sent) > 0 {
		t.Errorf("it followed, and sent %q", sent)
	}
}

func TestARequestWithoutAnswerEndsWithItsContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts connections, but there is no answer
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	silent, err := central.New(central.Config{URL: "https://" + listener.Addr().String(), Token: apiToken})
	if err != nil {
		t.Fatal(err)
	}
	hanging := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for name, c := range map[string]*central.Client{"no TLS": silent, "half an answer": hanging} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		e := failure(t, ctx, c)
		cancel()
		if !strings.HasSuffix(e.Error(), " did not answer in time: try again, or allow it more time") ||
			!errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, e)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := c.Device(ctx, "dev1"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v", name, err)
		}
	}
}

func TestAnUnreachableApplicationIsNamedWithTheReason(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := listener.Addr().String()
	listener.Close()
	unknown := strings.Repeat("x", 64) + ".invalid" // longer than a host name may be, so that no DNS server is asked
	plain := httptest.NewServer(withBody(200, "{}"))
	t.Cleanup(plain.Close)
	for address, want := range map[string]string{
		gone: "cannot be reached (dial tcp " + gone +
			": connect: connection refused): check the address, the network and HTTPS_PROXY",
		unknown: "is a host name that cannot be resolved: " +
			"check the ID of the application and the DNS suffix",
		plain.Listener.Addr().String(): "cannot be reached (http: server gave HTTP response to HTTPS client): " +
			"check the address",
	} {
		c, err := central.New(central.Config{URL: "https://" + address, Token: apiToken})
		if err != nil {
			t.Fatal(err)
		}
		if e := failure(t, t.Context(), c); !strings.Contains(e.Error(), "central: "+address+" "+want) {
			t.Errorf("it says\n%s, want\n%s", e, want)
		}
	}
}

func TestAnUntrustedCertificateIsNamedInTheError(t *testing.T) {
	good := serve(t, always(200, "{}"))
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		roots  bool
		want   string
	}{
		"unknown authority": {func(*x509.Certificate) {}, false, "unknown authority"},
		"expired": {
			func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, true, "has expired",
		},
		"another name": {
			func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example"} }, true, "IP SANs",
		},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, parsed := selfSigned(t, c.change)
			server := httptest.NewUnstartedServer(withBody(200, "{}"))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
			server.Config.ErrorLog = quiet()
			server.StartTLS()
			t.Cleanup(server.Close)
			roots := good.roots()
			if c.roots {
				roots.AddCert(parsed)
			}
			client, err := central.New(central.Config{URL: server.URL, Token: apiToken, Roots: roots})
			if err != nil {
				t.Fatal(err)
			}
			e := failure(t, t.Context(), client)
			for _, want := range []string{
				" is not trusted (", c.want,
				"check the address and the clock; if a proxy inspects TLS, " +
					"give its certificate authority as the CA file",
			} {
				if !strings.Contains(e.Error(), want) {
					t.Errorf("no %q in %s", want, e)
				}
			}
		})
	}
}

func selfSigned(t *testing.T, change func(*x509.Certificate)) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stub"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, parsed
}
