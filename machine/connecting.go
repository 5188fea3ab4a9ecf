package machine

import (
	"context"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// settleTime bounds the wait for acknowledgements before a planned reconnect. What is not acknowledged by then is sent
// again.
const settleTime = 2 * time.Second

// connecting tries the assigned hub once.
func (d *Device) connecting(ctx context.Context, c Change) (Event, error) {
	if c.On == Renew {
		settling, cancel := context.WithTimeout(ctx, settleTime)
		_ = d.hub.AwaitAcks(settling)
		cancel()
	}
	d.drop()
	d.attempt()
	link := d.hubLink()
	if d.within > 0 {
		link.ConnectTimeout = d.within
		d.within = 0 // for one attempt
	}
	s, err := transport.Connect(ctx, link)
	if err != nil {
		return ConnectFailed, err
	}
	d.session = s
	return HubAccepted, nil
}

// hubLink is the hub as DPS named it: username and token carry that name as it is, a port included.
func (d *Device) hubLink() transport.Config {
	hub, device := d.assignment.Hub, d.assignment.DeviceID
	c := transport.Config{Link: d.Link}
	c.Host = hub
	c.ClientID = device
	c.Username = payloads.HubUsername(hub, device, d.Identity.ModelID)
	c.CleanSession = false // a clean session would delete the device's queued messages
	c.Password = func(now time.Time) (string, error) {
		key, err := d.readKey()
		if err != nil {
			return "", err
		}
		d.term = newTerm(time.Now(), now, d.Timing.TokenLife, d.Rand(), d.cutShort)
		return transport.SAS(hub+"/devices/"+device, "", key, now.Add(d.Timing.TokenLife)), nil
	}
	return c
}
