//go:build !nolab

package main

import (
	"context"
	"net"
	"strings"
	"time"
)

// plainHost returns a host in the form that net.Listen accepts: an IPv6 address without brackets, a
// name without a trailing dot.
func plainHost(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return inner
		}
	}
	return strings.TrimSuffix(host, ".")
}

// lookupTimeout bounds the lookup of a host name. Looking up a name of this machine takes far less time.
const lookupTimeout = 2 * time.Second

// isLoopback reports whether a host can be reached from this machine only: the host is a loopback
// address, or a name that resolves only to loopback addresses.
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
