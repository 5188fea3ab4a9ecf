// Package central is a client of IoT Central's REST API, of a real application or of the emulator on this machine, and of the
// lizard's API, which only the emulator has. It shares no code with the server, so it is a second opinion about the wire.
package central

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	// DefaultSuffix is the DNS suffix of the applications of the public cloud.
	DefaultSuffix = "azureiotcentral.com"
	// GlobalDPS is the Device Provisioning Service of the public cloud.
	GlobalDPS = "https://global.azure-devices-provisioning.net"

	versionQuery = "?api-version=2022-07-31"
	answerLimit  = 1 << 20  // far more than any answer takes
	headerLimit  = 64 << 10 // Go would read ten megabytes
)

// A Config says which application to talk to. Token is an API token, which begins with "SharedAccessSignature ", or a bearer
// token of Microsoft Entra ID (AAD).
type Config struct {
	URL   string // as Address makes it
	Token string
	Roots *x509.CertPool // nil: the system's
	DPS   string         // where Registration asks; "": it does not ask
}

// A Client sends requests to one application, each on a connection of its own. It follows no redirect, so its token goes
// nowhere else. Its methods may be called from any goroutine, and take as long as their ctx allows.
type Client struct {
	address, dps string
	token        *token
	http         *http.Client
	emulator     string // the control file, if it is the emulator on this machine
}

// New makes a Client. It sends nothing.
func New(c Config) (*Client, error) {
	return newClient(c, http.ProxyFromEnvironment)
}

func newClient(c Config, proxy func(*http.Request) (*url.URL, error)) (*Client, error) {
	token, err := parseToken(c.Token)
	if err != nil {
		return nil, fmt.Errorf("central: %w", err)
	}
	address, err := checkAddress(c.URL)
	if err != nil {
		return nil, fmt.Errorf("central: address: %w", err)
	}
	return &Client{address: address, dps: c.DPS, token: token, http: &http.Client{
		Transport: &http.Transport{
			Proxy:                  proxy,
			TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: headerLimit,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Address is where an application is: https://APP.SUFFIX, or the suffix itself if that is a whole address.
func Address(app, suffix string) (string, error) {
	address := suffix
	if !strings.Contains(suffix, "://") {
		address = "https://" + app + "." + suffix
	}
	checked, err := checkAddress(address)
	if err != nil {
		return "", fmt.Errorf("central: address: %w", err)
	}
	return checked, nil
}

func checkAddress(address string) (string, error) {
	address = strings.TrimSuffix(address, "/")
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is none", address)
	case u.Scheme != "https":
		return "", fmt.Errorf("%q is not https, and anybody on the way could read the token", address)
	case u.Hostname() == "" || strings.Contains("."+u.Hostname()+".", ".."), address != "https://"+u.Host:
		return "", fmt.Errorf("%q is none: it is https:// and a host, such as https://myapp.%s", address, DefaultSuffix)
	}
	return address, nil
}

// URL is the application's address.
func (c *Client) URL() string { return c.address }

func (c *Client) host() string { return strings.TrimPrefix(c.address, "https://") }

// call sends a request and decodes the answer into a value, unless that is nil or the answer is empty.
func (c *Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.address+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("central: request: %w", err)
	}
	request.Header = http.Header{
		"Accept": {"application/json"}, "Authorization": {c.token.header}, "User-Agent": {"failover"},
		"X-Ms-Client-Request-Id": {requestID()},
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return c.noAnswerError(ctx, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit+1))
	if err != nil {
		return c.noAnswerError(ctx, err)
	}
	if err := c.answerError(answer, text); err != nil {
		return err
	}
	if into == nil || len(text) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(into) != nil {
		return c.notJSONError(answer)
	}
	return nil
}

// requestID is what IoT Central's support asks for.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
