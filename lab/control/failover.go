package control

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A manual failover lasts 1 to 30 minutes, by the help of the CLI (az iot central device
// manual-failover).
const (
	defaultMinutes = 5
	longestMinutes = 30
)

// hubIdentifier returns an identifier of a hub that does not contain its name.
func (a *application) hubIdentifier(hub string) string {
	sum := sha256.Sum256([]byte(a.cloud.IDScope() + "/" + hub))
	return hex.EncodeToString(sum[:])
}

// failover moves a device to the other hub. Like IoT Central, it answers with the hub that the
// device leaves.
func (a *application) failover(r *http.Request, body []byte) (int, any, error) {
	var update struct {
		TTL *int `json:"ttl"` // time to live in minutes
	}
	if err := decode(body, &update, failoverExample, false); err != nil {
		return 0, nil, err
	}
	minutes := defaultMinutes
	setIfGiven(&minutes, update.TTL)
	if minutes < 1 || minutes > longestMinutes {
		return 0, nil, invalidContent("The ttl is %d: it must be 1 to %d minutes.", minutes, longestMinutes)
	}
	moved, err := a.cloud.ManualFailover(r.PathValue("device"), time.Duration(minutes)*time.Minute)
	if err != nil {
		return 0, nil, moveProblem(err)
	}
	return a.moveAnswer(moved, "Success! The device is now unregistered from its IoT hub. "+
		"Once it asks DPS, it is sent to another one. It returns by itself at "+
		moved.Return.UTC().Format(time.RFC3339)+", or sooner by a manual failback.")
}

func (a *application) failback(r *http.Request, _ []byte) (int, any, error) {
	moved, err := a.cloud.ManualFailback(r.PathValue("device"))
	if err != nil {
		return 0, nil, moveProblem(err)
	}
	return a.moveAnswer(moved, "Success! The device is now unregistered from the failover IoT hub. "+
		"Once it asks DPS, it is sent to its original one.")
}

func (a *application) moveAnswer(m emulator.ManualMove, message string) (int, any, error) {
	return http.StatusOK, map[string]string{"hubIdentifier": a.hubIdentifier(m.Left), "message": message}, nil
}

// moveProblem converts an error of ManualFailover or ManualFailback to a problem.
func moveProblem(err error) error {
	for _, why := range []error{
		emulator.ErrNotProvisioned, emulator.ErrOneHub, emulator.ErrFailedOver, emulator.ErrNotFailedOver,
	} {
		if errors.Is(err, why) {
			return conflict(why)
		}
	}
	return err
}
