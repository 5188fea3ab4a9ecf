package emulator

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

const maximumSubscriptions = 5 // limit for each device; azure-docs iot/iot-mqtt-connect-to-iot-hub.md

// A hub is one IoT hub. It owns the sessions and the subscriptions of its devices.
type hub struct {
	cloud    *Cloud
	name     string // the name in the configuration, such as "A"
	host     string // the name of the hub in DPS's assignments, in user names and in tokens
	address  string // host:port by which devices reach the hub
	frontend *frontend

	byConnection map[*connection]*session
	byDevice     map[string]*session        // current sessions by device ID
	keptFilters  map[string]map[string]byte // topic filters and QoS of sessions with CleanSession 0, by device ID
	gate         Gate                       // for connections
}

func newHub(c *Cloud, name string) *hub {
	h := &hub{
		cloud: c, name: name, byConnection: map[*connection]*session{}, byDevice: map[string]*session{},
		keptFilters: map[string]map[string]byte{}, gate: NewGate(c.config.HubConnections, time.Second),
	}
	h.frontend = newFrontend(c, name, h)
	return h
}

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
		c.reportRefusal(conn, h.name, r.clientID, "CONNACK 3: more than %d connections a second",
			c.config.HubConnections)
		return refusedUnavailable
	}
	host, id, model, notes, err := parseHubUsername(r.username)
	if err == nil && r.clientID != id {
		err = fmt.Errorf("the client ID %.200q is not the device ID %q", r.clientID, id)
	}
	if err == nil {
		err = checkWill(id, r.will)
	}
	if err != nil {
		_ = c.violation(h.name, id, "sent a CONNECT in which %v", err)
		return refusedMalformed
	}
	d, expires, err := h.authenticate(host, id, r.password)
	if err != nil {
		c.reportRefusal(conn, h.name, id, "CONNACK 5: %v", err)
		return refusedCredentials
	}
	if old := h.byDevice[id]; old != nil {
		h.close(old, "a second connection took over")
	}
	if model != "" {
		d.model = model
	}
	h.startSession(conn, d, r, expires)
	c.note(h.name, id, notes...)
	return accepted
}

func (h *hub) authenticate(host, id, password string) (*device, time.Time, error) {
	var none time.Time
	d := h.cloud.devices[id]
	switch {
	case !strings.EqualFold(host, h.host):
		return nil, none, fmt.Errorf("the user name names the host %.100q, but this hub is %s", host, h.host)
	case d == nil || d.hub == nil:
		return nil, none, errors.New("the device is not registered")
	case d.hub != h:
		return nil, none, fmt.Errorf("the device belongs to hub %s", d.hub.name)
	}
	if err := d.loginRefusal(); err != nil {
		return nil, none, err
	}
	t, err := parseToken(password)
	if err != nil {
		return nil, none, err
	}
	if t.policy != "" { // at a hub, only tokens of shared access policies have skn, and these hubs have none
		return nil, none, errors.New("the token has a skn, which a device's token must not have")
	}
	expires, err := t.check(d.key, h.host+"/devices/"+id, h.frontend.now())
	if err == nil {
		h.cloud.note(h.name, id, t.notes...)
	}
	return d, expires, err
}

func checkWill(id string, will *publication) error {
	switch {
	case will == nil:
		return nil
	case will.qos == 2:
		return errors.New("the will has QoS 2")
	}
	_, err := readTelemetry(id, *will)
	if err != nil {
		return fmt.Errorf("the will %w", err)
	}
	return nil
}

func (h *hub) subscribe(conn *connection, filters []subscription) error {
	c := h.cloud
	if c.lockForPacket(conn) != nil {
		return errEnded
	}
	defer c.unlock()
	s := h.byConnection[conn]
	if s == nil {
		return errEnded
	}
	if c.decideSUBACK(conn, s.device.faults, h.frontend.faults) == subackRefuses {
		c.emit(KindLizard, h.name, s.device.id, "a subscription was refused")
		return nil
	}
	for _, f := range filters {
		_, again := s.filters[f.filter]
		switch {
		case !again && len(s.filters) == maximumSubscriptions:
			return s.violation("subscribed to %.100q, which would be a sixth subscription", f.filter)
		case !isDocumentedFilter(f.filter, s.device.id):
			return s.violation("subscribed to %.100q, which is not a documented topic filter", f.filter)
		}
		s.filters[f.filter] = f.qos
		c.emit(KindSubscribed, h.name, s.device.id, "to %s", f.filter)
	}
	return nil
}

func (h *hub) connackWritten(conn *connection) {
	h.cloud.mu.Lock()
	defer h.cloud.unlock()
	if s := h.byConnection[conn]; s != nil {
		s.scheduleFlap()
		h.frontend.afterCONNACK(conn)
	}
}

func (h *hub) closeSession(conn *connection, why string) {
	if s := h.byConnection[conn]; s != nil {
		h.close(s, why)
	}
}

// subackWritten delivers pending messages. It runs after SUBACK, so that SUBACK comes first.
func (h *hub) subackWritten(conn *connection) {
	if h.cloud.lockForPacket(conn) != nil {
		return
	}
	defer h.cloud.unlock()
	if s := h.byConnection[conn]; s != nil {
		s.device.deliver()
	}
}

func (h *hub) unsubscribe(conn *connection, filters []string) error {
	if h.cloud.lockForPacket(conn) != nil {
		return errEnded
	}
	defer h.cloud.unlock()
	s := h.byConnection[conn]
	if s == nil {
		return errEnded
	}
	for _, filter := range filters {
		delete(s.filters, filter)
		h.cloud.emit(KindSubscribed, h.name, s.device.id, "no longer to %s", filter)
	}
	return nil
}

func (h *hub) publish(conn *connection, p publication) error {
	if h.cloud.lockForPacket(conn) != nil {
		return errEnded
	}
	defer h.cloud.unlock()
	s := h.byConnection[conn]
	if s == nil {
		return errEnded
	}
	if err := s.handlePublish(p); err != nil {
		return err
	}
	return s.decidePUBACK(p)
}

func (s *session) handlePublish(p publication) error {
	if p.qos == 2 {
		return s.violation("published at QoS 2")
	}
	if strings.HasPrefix(p.topic, "devices/") {
		return s.telemetry(p)
	}
	if rest, ok := strings.CutPrefix(p.topic, methodReply); ok {
		return s.completeMethod(rest, p.payload)
	}
	if query, ok := strings.CutPrefix(p.topic, twinGet); ok {
		return s.answerTwinGet(query)
	}
	if query, ok := strings.CutPrefix(p.topic, twinReport); ok {
		return s.answerReported(query, p.payload)
	}
	return s.violation("published to %.100q, which is not a documented topic", p.topic)
}

func (h *hub) acknowledged(conn *connection, id uint16) {
	if h.cloud.lockForPacket(conn) != nil {
		return
	}
	defer h.cloud.unlock()
	if s := h.byConnection[conn]; s != nil {
		s.device.complete(s, id)
	}
}

func (h *hub) violation(conn *connection, sentence string) error {
	h.cloud.mu.Lock()
	defer h.cloud.unlock()
	switch s := h.byConnection[conn]; {
	case s != nil:
		return s.violation("%s", sentence)
	case conn.loggedIn: // the session has ended, so the client can no longer break a rule
		return errEnded
	}
	return h.cloud.violation(h.name, "", "%s", sentence)
}
