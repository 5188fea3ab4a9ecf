package machine

import (
	"context"
	"errors"
	"fmt"

	"giantlizard.example/failover/transport"
)

// watchNetwork ends back-offs when the network is back, until ctx ends. A program's own Link.Dial may use
// another network than the system's.
func (l *life) watchNetwork(ctx context.Context) {
	if !l.plainTCP {
		return
	}
	if err := watchNetwork(ctx, l.networkReturned); err != nil {
		l.warn("", fmt.Errorf("%w: after an outage of the network the device tries at its usual pace", err))
	}
}

// networkReturned notes that the system has a new address or route.
func (l *life) networkReturned() {
	l.networks.Add(1)
	l.clock.wake()
}

// networkEndsBackOff reports whether the device should try again at once: if the system has a new address or
// route since the latest attempt began, and that attempt got no answer, as cause says. A network that returns
// again and again ends a back-off only once in Policy.FirstRest.
func (l *life) networkEndsBackOff(cause error) bool {
	now, n := l.clock.steady(), l.networks.Load()
	if n == l.networksSeen || !blamesNetwork(cause) ||
		!l.networkFreedAt.IsZero() && now.Sub(l.networkFreedAt) < l.Policy.FirstRest {
		return false
	}
	l.networksSeen, l.networkFreedAt = n, now
	l.history.Restart(false, now)
	return true
}

// blamesNetwork reports whether an attempt may have failed because there was no network.
func blamesNetwork(cause error) bool {
	for _, r := range []transport.Reason{
		transport.NameNotFound, transport.Unreachable, transport.TimedOut, transport.Silence, transport.WriteStalled,
		transport.Unknown,
	} {
		if errors.Is(cause, r) {
			return true
		}
	}
	return false
}
