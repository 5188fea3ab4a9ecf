//go:build !linux

package emulator

import (
	"io"
	"net"
)

func openHole(net.Listener) (io.Closer, error) { return nil, errNoBlackHole }
