package machine

import (
	"context"
	"errors"

	"giantlizard.example/failover/provisioning"
)

// provisioning asks DPS. Only its answer replaces the assignment; no failure drops the one there is.
func (d *Device) provisioning(ctx context.Context, _ Change) (Event, error) {
	d.drop()
	d.history.chose(choice{event: Reprovision})
	a, err := provisioning.Register(ctx, provisioning.Request{
		Host: d.ProvisioningHost, IDScope: d.IDScope, RegistrationID: d.RegistrationID,
		Key: d.readKey, Payload: d.payload(), Polls: &d.polls, Link: d.Link, Ended: d.wind,
		Warn: func(err error) { d.warn("DPS sent an answer of which not every property can be read", err) },
	})
	switch {
	case errors.Is(err, provisioning.Refused) && !d.history.assigned:
		d.failed(Refused, err)
		return Refused, err
	case err != nil:
		return Unavailable, err
	}
	d.assignment = a
	d.history.answered()
	d.try(evidence{updated: a.Updated})
	if err := d.cache().Save(a); err != nil {
		d.warn("", err)
	}
	return Assigned, nil
}

// payload is IoT Central's, when the device has a model.
func (d *Device) payload() any {
	if d.ModelID == "" {
		return nil
	}
	return map[string]string{d.ModelKey: d.ModelID}
}
