package machine

import (
	"context"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/policy"
	"giantlizard.example/failover/transport"
)

// settleTimeout bounds the wait for acknowledgements before a planned reconnect, and the end of a session.
// Readings that are not acknowledged by then are sent again.
const settleTimeout = 2 * time.Second

// connecting tries the assigned hub once.
func (l *life) connecting(ctx context.Context, c Change) (Event, error) {
	if c.On == Renew {
		settling, cancel := context.WithTimeout(ctx, settleTimeout)
		_ = l.hub.AwaitAcks(settling)
		cancel()
		l.history.Renew()
	}
	l.dropSession()
	l.noteAttempt()
	l.history.Try(l.Policy, policy.Hub, l.clock.steady())
	config := l.hubConfig()
	if l.within > 0 {
		config.ConnectTimeout = l.within
		l.within = 0 // the shorter timeout is for one attempt only
	}
	s, err := transport.Connect(ctx, config)
	if err != nil {
		return ConnectFailed, err
	}
	l.session, l.accepted = s, time.Now()
	return HubAccepted, nil
}

// hubConfig returns the configuration of the connection to the hub. User name and token contain the hub's
// name exactly as DPS gave it, with the port if the name has one.
func (l *life) hubConfig() transport.Config {
	a := l.assignment()
	hub, device := a.Hub, a.DeviceID
	return transport.Config{
		Link: l.Link, Host: hub, ClientID: device, Username: payloads.HubUsername(hub, device, l.Identity.ModelID),
		CleanSession: false, // a clean session would delete the device's queued messages
		Password: func(now time.Time) (string, error) {
			key, err := l.Identity.Key()
			if err != nil {
				return "", err
			}
			l.term = newTerm(time.Now(), now, l.Timing.TokenLife, l.Rand(), l.cutShort)
			return transport.SAS(hub+"/devices/"+device, "", key, now.Add(l.Timing.TokenLife)), nil
		},
	}
}
