package central

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// A Move is the answer to a failover or a failback. HubIdentifier identifies the hub that the
// device leaves.
type Move struct {
	HubIdentifier string `json:"hubIdentifier"`
	Message       string `json:"message"`
}

// Failover moves a device to another hub for some minutes. Zero minutes means the default of the
// application.
func (c *Client) Failover(ctx context.Context, device string, minutes int) (m Move, err error) {
	body := []byte("{}")
	if minutes != 0 {
		body = fmt.Appendf(nil, `{"ttl":%d}`, minutes)
	}
	err = c.device(ctx, http.MethodPost, "/system/iothub/devices/", device, "/manual-failover", body, &m)
	return m, err
}

// Failback moves a device back before the end of its failover.
func (c *Client) Failback(ctx context.Context, device string) (m Move, err error) {
	err = c.device(ctx, http.MethodPost, "/system/iothub/devices/", device, "/manual-failback", nil, &m)
	return m, err
}

// Device returns the JSON with which IoT Central describes a device: its model, whether it is enabled, and more.
func (c *Client) Device(ctx context.Context, device string) (answer any, err error) {
	err = c.device(ctx, http.MethodGet, "/api/devices/", device, versionQuery, nil, &answer)
	return answer, err
}

// A Part is a part of a device. The zero value means the device itself.
type Part struct{ Module, Component string }

// Properties returns the properties of a device or a part of it, with their metadata.
func (c *Client) Properties(ctx context.Context, device string, p Part) (answer any, err error) {
	path, err := p.path("/properties")
	if err != nil {
		return nil, err
	}
	err = c.device(ctx, http.MethodGet, "/api/devices/", device, path, nil, &answer)
	return answer, err
}

// Run runs a command and waits for its answer. The content is JSON: {"request": ...}.
func (c *Client) Run(
	ctx context.Context, device string, p Part, command string, content []byte,
) (answer any, err error) {
	var body bytes.Buffer
	if err := json.Compact(&body, content); err != nil {
		return nil, fmt.Errorf("central: command: the content is not JSON: %w", err)
	}
	name, err := segment(command)
	if err != nil {
		return nil, fmt.Errorf("central: command: %w", err)
	}
	path, err := p.path("/commands/" + name)
	if err != nil {
		return nil, err
	}
	err = c.device(ctx, http.MethodPost, "/api/devices/", device, path, body.Bytes(), &answer)
	return answer, err
}

// HasComponent reports whether the template of a device has a component of this name.
func (c *Client) HasComponent(ctx context.Context, device, component string) (bool, error) {
	var d deviceDescription
	if err := c.device(ctx, http.MethodGet, "/api/devices/", device, versionQuery, nil, &d); err != nil {
		return false, err
	}
	name, err := segment(d.Template)
	if err != nil {
		return false, errors.New("central: template: the device has no template, which would define its components")
	}
	var template struct {
		CapabilityModel struct {
			Contents []struct {
				Type any    `json:"@type"` // a string or a list of strings
				ID   string `json:"@id"`
				Name string `json:"name"`
			} `json:"contents"`
		} `json:"capabilityModel"`
	}
	if err := c.call(ctx, http.MethodGet, "/api/deviceTemplates/"+name+versionQuery, nil, &template); err != nil {
		return false, err
	}
	for _, content := range template.CapabilityModel.Contents {
		if content.Name == component && isComponent(content.Type) {
			return true, nil
		}
	}
	return false, nil
}

func isComponent(types any) bool {
	if all, ok := types.([]any); ok {
		for _, one := range all {
			if isComponent(one) {
				return true
			}
		}
	}
	return types == "Component"
}

// device sends a request about a device.
func (c *Client) device(ctx context.Context, method, before, device, after string, body []byte, into any) error {
	name, err := segment(device)
	if err != nil {
		return fmt.Errorf("central: device: %w", err)
	}
	return c.call(ctx, method, before+name+after, body, into)
}

func (p Part) path(end string) (string, error) {
	path := ""
	for _, step := range [][2]string{{"/modules/", p.Module}, {"/components/", p.Component}} {
		if step[1] == "" {
			continue
		}
		name, err := segment(step[1])
		if err != nil {
			return "", fmt.Errorf("central: part: %w", err)
		}
		path += step[0] + name
	}
	return path + end + versionQuery, nil
}

// segment returns a name encoded as one segment of a path.
func segment(name string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", fmt.Errorf("%q is not a valid name", name)
	}
	return url.PathEscape(name), nil
}
