package control

import (
	"encoding/json"
	"net/http"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// values are the newest ones of telemetry. They are read from the ledger when somebody asks, each message once.
type values struct {
	read int // messages
	last map[place]value
}

type value struct {
	at   time.Time // the device's, if it says so
	text json.RawMessage
}

func (v *values) follow(ledger []emulator.Delivery) {
	for _, d := range ledger[v.read:] {
		at, err := time.Parse(time.RFC3339, d.Properties["iothub-creation-time-utc"])
		if err != nil {
			at = d.Received
		}
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(d.Body, &fields) // a device may send anything
		for name, text := range fields {
			p := place{d.Device, d.Properties["$.sub"], name}
			if old, known := v.last[p]; !known || !at.Before(old.at) { // a backlog arrives after newer ones
				v.last[p] = value{at, text}
			}
		}
	}
	v.read = len(ledger)
}

func (k *desk) telemetry(r *http.Request, _ []byte) (int, any, error) {
	d, err := k.device(r)
	if err != nil {
		return 0, nil, err
	}
	p := place{d.ID, r.PathValue("component"), r.PathValue("name")}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.values.follow(k.cloud.Ledger())
	last, known := k.values.last[p]
	if !known {
		return 0, nil, notFound("Device %s has sent no value of %.100q yet.", d.ID, p.name)
	}
	return http.StatusOK, map[string]any{"timestamp": last.at.UTC().Format(time.RFC3339Nano), "value": last.text}, nil
}
