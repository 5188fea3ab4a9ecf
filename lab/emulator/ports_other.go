//go:build !linux

package emulator

import "net"

// holdPort returns the listener unchanged: on these systems a socket cannot stop listening and hold
// its port. An endpoint that is down frees its port. Bringing it up fails if another process has
// taken the port meanwhile.
func holdPort(l *net.TCPListener) net.Listener { return l }
