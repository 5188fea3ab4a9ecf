package control

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// values holds the newest values of telemetry.
type values struct {
	read int64 // sequence number of the last message that was read
	last map[capabilityName]value
}

type value struct {
	at   time.Time // time of the reading by the device's clock, if the message contains it
	text json.RawMessage
}

// readLedger adds the messages that were not read yet.
func (v *values) readLedger(cloud *emulator.Cloud) {
	for {
		deliveries, missed := cloud.LedgerAfter(v.read, readAtOnce)
		if v.read += missed; len(deliveries) == 0 {
			return
		}
		for _, d := range deliveries {
			v.add(d)
		}
	}
}

func (v *values) add(d emulator.Delivery) {
	v.read = d.Sequence
	at, err := time.Parse(time.RFC3339, d.Properties["iothub-creation-time-utc"])
	if err != nil {
		at = d.Received
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(d.Body, &fields) // a body need not be JSON
	for name, text := range fields {
		p := capabilityName{d.Device, d.Properties["$.sub"], name}
		if old, known := v.last[p]; !known || !at.Before(old.at) { // older readings may arrive after newer ones
			v.last[p] = value{at, text}
		}
	}
}

// followTelemetry reads new messages until ctx ends, before they can leave the ledger.
func (a *application) followTelemetry(ctx context.Context) {
	read := int64(0)
	for err := error(nil); err == nil; {
		err = a.cloud.Wait(ctx, func() bool { return a.cloud.LastSequence() > read })
		a.mu.Lock()
		a.values.readLedger(a.cloud)
		read = a.values.read
		a.mu.Unlock()
	}
}

func (a *application) telemetry(r *http.Request, _ []byte) (int, any, error) {
	d, err := a.device(r)
	if err != nil {
		return 0, nil, err
	}
	p := capabilityName{d.ID, r.PathValue("component"), r.PathValue("name")}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.values.readLedger(a.cloud)
	last, known := a.values.last[p]
	if !known {
		return 0, nil, notFound("Device %s has sent no value of %.100q yet.", d.ID, p.name)
	}
	return http.StatusOK, map[string]any{"timestamp": last.at.UTC().Format(time.RFC3339Nano), "value": last.text}, nil
}
