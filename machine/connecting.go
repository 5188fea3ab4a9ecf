package machine

import (
	"context"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// settleTimeout bounds the wait for acknowledgements before a planned reconnect. What is not acknowledged by then is sent
// again.
const settleTimeout = 2 * time.Second

// connecting tries the assigned hub once.
func (l *life) connecting(ctx context.Context, c Change) (Event, error) {
	if c.On == Renew {
		settling, cancel := context.WithTimeout(ctx, settleTimeout)
		_ = l.hub.AwaitAcks(settling)
		cancel()
	}
	l.dropSession()
	l.noteAttempt()
	link := l.hubLink()
	if l.within > 0 {
		link.ConnectTimeout = l.within
		l.within = 0 // for one attempt
	}
	s, err := transport.Connect(ctx, link)
	if err != nil {
		return ConnectFailed, err
	}
	l.session = s
	return HubAccepted, nil
}

// hubLink is the hub as DPS named it: username and token carry that name as it is, a port included.
func (l *life) hubLink() transport.Config {
	a := l.assignment()
	hub, device := a.Hub, a.DeviceID
	c := transport.Config{Link: l.Link}
	c.Host = hub
	c.ClientID = device
	c.Username = payloads.HubUsername(hub, device, l.Identity.ModelID)
	c.CleanSession = false // a clean session would delete the device's queued messages
	c.Password = func(now time.Time) (string, error) {
		key, err := l.Identity.Key()
		if err != nil {
			return "", err
		}
		l.term = newTerm(time.Now(), now, l.Timing.TokenLife, l.Rand(), l.cutShort)
		return transport.SAS(hub+"/devices/"+device, "", key, now.Add(l.Timing.TokenLife)), nil
	}
	return c
}
