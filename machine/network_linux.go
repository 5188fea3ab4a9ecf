package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// watchNetwork calls added whenever the system has added an address or a route, until ctx ends: the network may
// be back.
func watchNetwork(ctx context.Context, added func()) error {
	const groups = unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("machine: watch the network: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "netlink")
	defer socket.Close()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("machine: watch the network: %w", err)
	}
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	message := make([]byte, 1<<16)
	for {
		n, err := socket.Read(message)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // messages were lost
			added()
		case err != nil:
			return fmt.Errorf("machine: watch the network: %w", err)
		case adds(message[:n]):
			added()
		}
	}
}

// adds reports whether a message of the kernel says that an address or a route was added.
func adds(message []byte) bool {
	parts, err := syscall.ParseNetlinkMessage(message)
	if err != nil {
		return false
	}
	for _, part := range parts {
		if part.Header.Type == unix.RTM_NEWADDR || part.Header.Type == unix.RTM_NEWROUTE {
			return true
		}
	}
	return false
}
