//go:build !linux

package emulator

import (
	"io"
	"net"
)

func openBlackHole(net.Listener) (io.Closer, error) { return nil, errNoBlackHole }
