package central

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

const injectionsPath = "/lizard/v1/strikes"

// A Fault is a fault that the emulator can inject.
type Fault struct {
	Name       string   `json:"name"`
	On         []string `json:"on"`  // kinds of targets: DPS, hub, device
	Doc        string   `json:"doc"` // effect of the fault on a device
	Parameters []string `json:"parameters"`
}

// An Injection is a fault at a target: DPS, the name of a hub, or the ID of a device.
type Injection struct {
	Target     string            `json:"target"`
	Fault      string            `json:"fault"`
	Parameters map[string]string `json:"parameters"`
}

// Faults returns all faults.
func (c *Client) Faults(ctx context.Context) ([]Fault, error) {
	var answer struct {
		Faults []Fault `json:"faults"`
	}
	err := c.call(ctx, http.MethodGet, "/lizard/v1/faults", nil, &answer)
	return answer.Faults, err
}

// ActiveFaults returns the active faults.
func (c *Client) ActiveFaults(ctx context.Context) ([]Injection, error) {
	var answer struct {
		Strikes []Injection `json:"strikes"`
	}
	err := c.call(ctx, http.MethodGet, injectionsPath, nil, &answer)
	return answer.Strikes, err
}

// Inject injects a fault and returns the injection with its parameters in the emulator's spelling.
func (c *Client) Inject(ctx context.Context, s Injection) (Injection, error) {
	if s.Parameters == nil {
		s.Parameters = map[string]string{}
	}
	body, err := json.Marshal(s)
	if err != nil {
		return Injection{}, fmt.Errorf("central: inject: %w", err)
	}
	var answer Injection
	err = c.call(ctx, http.MethodPost, injectionsPath, body, &answer)
	return answer, err
}

// Clear clears a fault at a target. An empty fault means all faults, and an empty target means all
// targets.
func (c *Client) Clear(ctx context.Context, target, fault string) error {
	query := url.Values{}
	if target != "" {
		query.Set("target", target)
	}
	if fault != "" {
		query.Set("fault", fault)
	}
	path := injectionsPath
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}
