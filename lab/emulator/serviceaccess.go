package emulator

import (
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The shared access policies of the emulator. They have all permissions, and are the first policies
// that a real hub and a real DPS have: azure-docs iot-hub/iot-hub-dev-guide-sas.md and
// iot-dps/how-to-control-access.md.
const (
	hubPolicy = "iothubowner"
	dpsPolicy = "provisioningserviceowner"
)

// HubNames returns the names of the hubs.
func (c *Cloud) HubNames() []string { return slices.Clone(c.config.Hubs) }

// ServiceConnectionString returns what a back end needs to use the service API of a hub, or of DPS
// for TargetDPS: "HostName=…;SharedAccessKeyName=…;SharedAccessKey=…". Each endpoint has a key of its
// own. It is derived from the group key, so it is as public as the group key. The host has a port.
func (c *Cloud) ServiceConnectionString(endpoint string) (string, error) {
	f, policy, err := c.serviceEndpoint(endpoint)
	if err != nil {
		return "", err
	}
	return "HostName=" + f.address + ";SharedAccessKeyName=" + policy + ";SharedAccessKey=" +
		base64.StdEncoding.EncodeToString(c.serviceKey(endpoint)), nil
}

func (c *Cloud) serviceEndpoint(endpoint string) (f *frontend, policy string, err error) {
	if endpoint == TargetDPS {
		return c.dps.frontend, dpsPolicy, nil
	}
	h, err := c.hub(endpoint)
	if err != nil {
		return nil, "", err
	}
	return h.frontend, hubPolicy, nil
}

// serviceKey returns the key of an endpoint's policy. No registration ID has a slash, so the key is
// never that of a device.
func (c *Cloud) serviceKey(endpoint string) []byte { return deriveKey(c.groupKey, "service/"+endpoint) }

// CheckServiceToken returns an error if the Authorization headers of a request do not contain
// exactly one SAS token of the endpoint's policy. The host in the token may have the endpoint's port
// or no port. No error quotes a header.
func (c *Cloud) CheckServiceToken(endpoint string, headers []string) error {
	f, policy, err := c.serviceEndpoint(endpoint)
	if err != nil {
		return err
	}
	if len(headers) != 1 {
		return errors.New("there must be one Authorization header")
	}
	t, err := parseToken(headers[0])
	if err != nil {
		return err
	}
	if t.policy != policy {
		return errors.New("the token's skn is not " + policy)
	}
	c.mu.Lock()
	now := f.now()
	c.mu.Unlock()
	host, _, _ := net.SplitHostPort(f.address)
	var first error
	for _, resource := range []string{f.address, host} {
		if _, err = t.check(c.serviceKey(endpoint), resource, now); err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// IsOwnHost reports whether the Host header of a request names this machine's loopback interface or
// the host of the configuration. It ignores the port. A web page whose name was changed to resolve
// to this machine (DNS rebinding) sends another Host.
func (c *Cloud) IsOwnHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	ip := net.ParseIP(name)
	loopback := strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
	return loopback || name != "" && strings.EqualFold(name, c.config.Host)
}

// ReportRequest emits an event about an HTTPS request that an endpoint has answered.
func (c *Cloud) ReportRequest(endpoint, device string, r *http.Request, status int) {
	c.mu.Lock()
	defer c.unlock()
	c.emit(KindService, endpoint, device, "%s %.300q answered %d", r.Method, r.URL.EscapedPath(), status)
}

// checkAny checks the token with each key, and returns the expiry or the error of the first key.
// Both keys of a device or enrollment are valid at any time, so that a program can renew one while
// devices use the other: azure-docs iot-hub/iot-hub-dev-guide-sas.md.
func (t token) checkAny(keys [][]byte, resource string, now time.Time) (expires time.Time, err error) {
	for i, key := range keys {
		at, e := t.check(key, resource, now)
		if e == nil {
			return at, nil
		}
		if i == 0 {
			err = e
		}
	}
	return time.Time{}, err
}

// HubHost returns the host of a hub as DPS names it in assignments, or "" if there is no such hub.
func (c *Cloud) HubHost(name string) string {
	if h, err := c.hub(name); err == nil {
		return h.host
	}
	return ""
}

// IsHub reports whether a host, with its port or as DPS names it, is that of a hub.
func (c *Cloud) IsHub(name, host string) bool {
	h, err := c.hub(name)
	return err == nil && (strings.EqualFold(host, h.host) || strings.EqualFold(host, h.address))
}
