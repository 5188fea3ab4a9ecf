package machine

import (
	"context"
	"errors"
	"fmt"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/policy"
	"giantlizard.example/failover/provisioning"
)

// provisioning asks DPS for an assignment. An assignment from DPS replaces the current one; a failure leaves
// the current one unchanged. If DPS names the hub that has just failed, Failover waits until that hub is due.
func (l *life) provisioning(ctx context.Context, _ Change) (Event, error) {
	l.dropSession()
	l.noteAttempt()
	link := l.history.Try(l.Policy, policy.DPS, l.clock.steady()).For(l.Link)
	a, err := provisioning.Register(ctx, provisioning.Request{
		Identity: l.Identity, Polls: &l.polls, Link: link, Ended: l.awaitDone,
		Warn: func(err error) { l.warn("DPS sent an answer of which not every property can be read", err) },
	})
	switch {
	case errors.Is(err, provisioning.Refused) && !l.isAssigned():
		l.noteFailure(DPSRefused, err)
		return DPSRefused, err
	case err != nil:
		return Unavailable, err
	}
	other := a.Hub != l.assignment().Hub
	l.assigned.Store(&a)
	l.doubted = false
	l.history.Answer(l.Policy, other, l.clock.steady(), l.Rand())
	l.weigh(evidence{updated: a.Updated})
	l.state.store(a)
	l.recordPayload(a)
	if l.Policy.Choose(l.history, l.clock.steady()).Wait > 0 {
		return Unchanged, nil
	}
	return Assigned, nil
}

// recordPayload records the size of the payload that DPS has returned. It leaves out the content, which may
// be secret.
func (l *life) recordPayload(a Assignment) {
	if a.TooLarge > 0 {
		l.warn("", fmt.Errorf("machine: DPS returned a payload of %d bytes with the assignment, "+
			"and the device keeps at most %d; the payload was left out: let the custom allocation return less",
			a.TooLarge, provisioning.MaxPayload))
	}
	if a.Payload != "" {
		l.emit(Record{Level: observe.Info, Kind: observe.Payload, Hub: a.Hub, Bytes: len(a.Payload)})
	}
}
