package machine

import (
	"context"
	"errors"
	"fmt"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/provisioning"
)

// provisioning asks DPS. Only its answer replaces the assignment; no failure drops the one there is.
func (d *Device) provisioning(ctx context.Context, _ Change) (Event, error) {
	d.drop()
	d.attempt()
	d.history.chose(choice{event: Reprovision})
	a, err := provisioning.Register(ctx, provisioning.Request{
		Identity: d.identity(), Polls: &d.polls, Link: d.Link, Ended: d.wind,
		Warn: func(err error) { d.warn("DPS sent an answer of which not every property can be read", err) },
	})
	switch {
	case errors.Is(err, provisioning.Refused) && !d.history.assigned:
		d.failed(Refused, err)
		return Refused, err
	case err != nil:
		return Unavailable, err
	}
	d.assign(a)
	d.history.answered()
	d.try(evidence{updated: a.Updated})
	d.saver.keep(a)
	d.payloadCame(a)
	return Assigned, nil
}

// payloadCame records that DPS has returned a payload, without its content, which may be secret.
func (d *Device) payloadCame(a Assignment) {
	if a.TooLarge > 0 {
		d.warn("", fmt.Errorf("machine: DPS returned a payload of %d bytes with the assignment, and at most %d are kept; "+
			"it was left out: let the custom allocation return less", a.TooLarge, provisioning.MaxPayload))
	}
	if a.Payload != "" {
		d.emit(Record{Level: observe.Info, Kind: observe.Payload, Hub: a.Hub, Bytes: len(a.Payload)})
	}
}

// identity is the device's identity with a key whose secrets the records hide.
func (d *Device) identity() Identity {
	i := d.Identity
	i.Key = d.readKey
	return i
}
