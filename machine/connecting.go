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

// connecting tries the assigned hub once. From then on the hub has the session, so that Closing and an added
// state can send what is pending; only Connected attaches the message handlers.
func (l *life) connecting(ctx context.Context, c Change) (Event, error) {
	if c.On == Renew {
		settling, cancel := context.WithTimeout(ctx, settleTimeout)
		_ = l.hub.AwaitAcks(settling)
		cancel()
		l.history.Renew()
	}
	l.dropSession()
	l.noteAttempt()
	var made token
	config := l.hubConfig(&made)
	config.Link = l.history.Try(l.Policy, policy.Hub, l.clock.steady()).For(l.Link)
	began := time.Now()
	s, err := transport.Connect(ctx, config)
	if err != nil {
		return ConnectFailed, err
	}
	l.session, l.accepted = s, time.Now()
	l.history.Accept(l.accepted.Sub(began))
	l.hub.Begin(s, l.assignment().DeviceID)
	l.term = newTerm(made.at, made.wall, l.Timing.TokenLife, l.Rand(), l.cutShort)
	return HubAccepted, nil
}

// A token is the time at which the token of a session was made, by the monotonic and by the wall clock.
type token struct{ at, wall time.Time }

// hubConfig returns the configuration of the connection to the hub, without its Link. User name and token contain
// the hub's name exactly as DPS gave it, with the port if the name has one. If the key source hangs, the function
// Password may run longer than the attempt, so it changes nothing but made.
func (l *life) hubConfig(made *token) transport.Config {
	a := l.assignment()
	hub, device := a.Hub, a.DeviceID
	return transport.Config{
		Host: hub, ClientID: device, Username: payloads.HubUsername(hub, device, l.Identity.ModelID),
		CleanSession: false, // a clean session would delete the device's queued messages
		Password: func(now time.Time) (string, error) {
			key, err := l.Identity.Key()
			if err != nil {
				return "", err
			}
			*made = token{time.Now(), now}
			return transport.SAS(hub+"/devices/"+device, "", key, now.Add(l.Timing.TokenLife)), nil
		},
	}
}
