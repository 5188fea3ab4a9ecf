//go:build !linux

package machine

import "context"

// watchNetwork does nothing, because only Linux is supported.
func watchNetwork(context.Context, func()) error { return nil }
