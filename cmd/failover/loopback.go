//go:build !nolab

package main

import (
	"context"
	"net"
	"strings"
	"time"
)

// plainHost is a host as a listener wants it: an address of IPv6 without its brackets, a name
// without the dot at its end.
func plainHost(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return inner
		}
	}
	return strings.TrimSuffix(host, ".")
}

// lookupTimeout is far more than a name of this machine takes.
const lookupTimeout = 2 * time.Second

// isLoopback reports whether a host can be reached from this machine only: by its address, by its
// name, or because the name has no other address.
func isLoopback(host string) bool {
	name := strings.ToLower(host)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761, 6.3
		return true
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	for _, a := range addresses {
		if !a.IP.IsLoopback() {
			return false
		}
	}
	return err == nil && len(addresses) > 0
}
