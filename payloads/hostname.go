package payloads

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// HostPort splits the name of a hub or of DPS: "name", "name:port" or "[::1]:port". A name without
// a port has the default port.
func HostPort(hub, defaultPort string) (host, port string, err error) {
	if host, port, err = hostPort(hub, defaultPort); err != nil {
		return "", "", fmt.Errorf("payloads: host: %w", err)
	}
	return host, port, nil
}

func hostPort(hub, defaultPort string) (host, port string, err error) {
	var valid, hasPort bool
	if inside, ok := strings.CutPrefix(hub, "["); ok {
		host, port, ok = strings.Cut(inside, "]")
		port, hasPort = strings.CutPrefix(port, ":")
		ip, err := netip.ParseAddr(host)
		valid = ok && err == nil && ip.Is6() && ip.Zone() == "" && (hasPort || port == "")
	} else {
		host, port, hasPort = strings.Cut(hub, ":")
		valid = isHostName(host)
	}
	if !valid {
		return "", "", fmt.Errorf("%.200q: expected a name without scheme or path, such as name, "+
			"name:8883 or [::1]:8883", hub)
	}
	if !hasPort {
		return host, defaultPort, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "", fmt.Errorf("%.200q: expected a port between 1 and 65535 after the colon", hub)
	}
	return host, strconv.FormatUint(n, 10), nil
}

// isHostName also refuses labels of more than 63 characters (RFC 1035), such as a key in hex.
func isHostName(s string) bool {
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || !hasOnly(label, "-_") {
			return false
		}
	}
	return len(s) <= 253
}
