package central

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// A CreatedDevice tells how a device connects to its hub without DPS.
type CreatedDevice struct {
	DeviceID         string `json:"deviceId"`
	Hub              string `json:"hub"`              // name of the hub
	ConnectionString string `json:"connectionString"` // contains the device's key
}

// CreateDevice creates a device at a hub of the emulator, unless the device is at a hub already. An
// empty hub means the hub of the device, or else the one to which DPS assigns new devices.
func (c *Client) CreateDevice(ctx context.Context, device, hub string) (answer CreatedDevice, err error) {
	wanted := map[string]string{}
	if hub != "" {
		wanted["hub"] = hub
	}
	body, err := json.Marshal(wanted)
	if err != nil {
		return answer, fmt.Errorf("central: create: %w", err)
	}
	err = c.device(ctx, http.MethodPut, "/lizard/v1/devices/", device, "", body, &answer)
	return answer, err
}
