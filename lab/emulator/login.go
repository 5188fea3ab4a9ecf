package emulator

import (
	"net"
	"strings"
	"time"
)

func (h *hub) connect(conn *connection, r connectRequest) byte {
	c := h.cloud
	if c.lockForPacket(conn) != nil {
		return unanswered
	}
	defer c.unlock()
	if conn.isEnding() {
		return unanswered
	}
	if code := c.faultRefusal(conn, h.frontend, h.name, r.clientID); code != accepted {
		return code
	}
	if h.gate.Admit(time.Now()) > 0 {
		c.reportRefusal(refuseConnections, conn, h.name, r.clientID, "CONNACK 3: more than %d connections a second",
			c.config.HubConnections)
		return refusedUnavailable
	}
	host, id, model, notes, err := parseHubUsername(r.username)
	if err == nil && r.clientID != id {
		err = refuse(refuseClientID, "the client ID %.200q is not the device ID %q", r.clientID, id)
	}
	if err != nil {
		_ = c.violation(refusalOf(err), h.name, id, "sent a CONNECT in which %v", err)
		return refusedMalformed
	}
	d, expires, err := h.authenticate(host, id, r.password)
	if err != nil {
		c.reportRefusal(refusalOf(err), conn, h.name, id, "CONNACK 5: %v", err)
		return refusedCredentials
	}
	if old := h.byDevice[id]; old != nil {
		h.close(old, endedByTakeover)
	}
	if model != "" {
		d.model = model
	}
	h.startSession(conn, d, r, expires)
	c.note(h.name, id, append(notes, noteWill(id, r.will)...)...)
	return accepted
}

func (h *hub) authenticate(host, id, password string) (*device, time.Time, error) {
	var none time.Time
	d := h.cloud.devices[id]
	switch {
	case !strings.EqualFold(host, h.host) && !strings.EqualFold(host, h.otherName()):
		return nil, none, refuse(refuseDevice, "the user name names %s, but this is %s",
			h.cloud.describeHost(host), h.cloud.describeHost(h.host))
	case strings.Contains(id, "/"):
		return nil, none, refuse(refuseDevice, "the emulator has no modules, and %.200q is one", id)
	case d == nil || d.hub == nil:
		return nil, none, refuse(refuseDevice, "the device is not registered")
	case d.hub != h:
		return nil, none, refuse(refuseDevice, "the device belongs to hub %s", d.hub.name)
	}
	if err := d.loginRefusal(); err != nil {
		return nil, none, err
	}
	t, err := parseToken(password)
	if err != nil {
		return nil, none, err
	}
	if t.policy != "" { // at a hub, only tokens of shared access policies have skn, and these hubs have none
		return nil, none, refuse(refuseToken, "the token has a skn, which a device's token must not have")
	}
	resource := h.host + "/devices/" + id
	other := h.otherName() + "/devices/" + id
	if !t.isFor(resource) && t.isFor(other) {
		resource = other
	}
	expires, err := t.checkAny([][]byte{d.key, d.record.secondary}, resource, h.frontend.now())
	if err == nil {
		h.cloud.note(h.name, id, t.notes...)
		if resource == other || !strings.EqualFold(host, h.host) {
			h.cloud.note(h.name, id, "called the hub "+h.otherName()+" and not "+h.host)
		}
	}
	return d, expires, err
}

// otherName returns the hub's name without its port, or with a port if its name has none. A real hub
// has no port in its name, so nothing shows that it matters.
func (h *hub) otherName() string {
	if bare, _, err := net.SplitHostPort(h.host); err == nil {
		return bare
	}
	return h.address
}

// noteWill returns the note for a will that no document describes. The documents only say which
// topics make a will telemetry (azure-docs iot/iot-mqtt-connect-to-iot-hub.md).
func noteWill(id string, will *publication) []string {
	if will == nil {
		return nil
	}
	var notes []string
	if will.qos == 2 {
		notes = append(notes, "set a will at QoS 2")
	}
	if _, _, err := readTelemetry(id, *will); err != nil {
		notes = append(notes, "set a will that is not telemetry and will not be stored")
	}
	return notes
}
