// Package central is a client of IoT Central's REST API, of a real application or of the emulator
// on this machine, and of the lizard's API, which only the emulator has. It shares no code with the
// server, so that it is a second opinion about the wire.
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
	answerLimit  = 1 << 20  // bytes of an answer; far more than any answer needs
	headerLimit  = 64 << 10 // bytes of the headers; the default of Go is ten megabytes
)

// A Config configures a Client. Token is an API token, which begins with "SharedAccessSignature ",
// or a bearer token of Microsoft Entra ID (AAD).
type Config struct {
	URL   string // the address of the application, as Address returns it
	Token string
	Roots *x509.CertPool // the trusted authorities; nil means those of the system
	DPS   string         // the address of DPS for Registration; "" means that Registration does not ask DPS
}

// A Client sends requests to one application, each on a new connection. It does not follow
// redirects, so that the token is sent only to the application. Its methods may be called from any
// goroutine. Only ctx limits the duration of a call.
type Client struct {
	address, dps string
	token        *token
	http         *http.Client
	emulator     string // the control file of the emulator; "" means a real application
}

// New returns a Client. It sends no request.
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

// Address returns the address of an application: https://APP.SUFFIX, or the suffix if it is a
// complete address.
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
		return "", fmt.Errorf("%q is not a URL", address)
	case u.Scheme != "https":
		return "", fmt.Errorf("%q is not https, so the token would be sent unencrypted", address)
	case u.Hostname() == "" || strings.Contains("."+u.Hostname()+".", ".."), address != "https://"+u.Host:
		return "", fmt.Errorf("%q is not https:// and a host, such as https://myapp.%s", address, DefaultSuffix)
	}
	return address, nil
}

// URL returns the address of the application.
func (c *Client) URL() string { return c.address }

func (c *Client) host() string { return strings.TrimPrefix(c.address, "https://") }

// call sends a request and decodes the answer into the value that into points to. It does not decode
// if into is nil or the answer is empty.
func (c *Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	answer, err := c.send(ctx, method, path, body, "application/json")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := c.read(ctx, answer)
	if err != nil || into == nil || len(text) == 0 {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(into) != nil {
		return c.notJSONError(answer)
	}
	return nil
}

// send sends a request and returns the answer, whose body the caller must close.
func (c *Client) send(ctx context.Context, method, path string, body []byte, accept string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.address+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("central: request: %w", err)
	}
	request.Header = http.Header{
		"Accept": {accept}, "Authorization": {c.token.header}, "User-Agent": {"failover"},
		"X-Ms-Client-Request-Id": {requestID()},
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, c.noAnswerError(ctx, err)
	}
	return answer, nil
}

// read reads the body of an answer, and returns the error that the answer reports.
func (c *Client) read(ctx context.Context, answer *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit+1))
	if err != nil {
		return nil, c.noAnswerError(ctx, err)
	}
	return text, c.answerError(answer, text)
}

// requestID returns a random UUID for a request. The support of IoT Central asks for the ID.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
