//go:build !linux

package emulator

import "net"

// holdPort does nothing here: these systems do not let a socket stop listening and keep its port. A dead endpoint frees it, and
// to revive the endpoint is an error when somebody else has taken the port meanwhile.
func holdPort(l *net.TCPListener) net.Listener { return l }
