package emulator

import (
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

// describeHost returns the name of a hub with its host, so that nobody has to look up the host, or
// the host alone if it is of no hub. It is called with c.mu held.
func (c *Cloud) describeHost(host string) string {
	for _, h := range c.hubs {
		if strings.EqualFold(host, h.host) {
			return fmt.Sprintf("hub %s (%s)", h.name, h.host)
		}
	}
	return fmt.Sprintf("the host %.100q", host)
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
			return s.violation(refuseSubscriptions, "subscribed to %.100q, which would be a sixth subscription",
				f.filter)
		case !isDocumentedFilter(f.filter, s.device.id):
			return s.violation(refuseFilter, "subscribed to %.100q, which is not a documented topic filter", f.filter)
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
		return s.violation(refuseQoS2, "published at QoS 2")
	}
	if p.topic+"/" == telemetryTopic(s.device.id) {
		s.note("published telemetry to a topic without the slash at its end")
		p.topic += "/"
	}
	if strings.HasPrefix(p.topic, telemetryTopic(s.device.id)) {
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
	if query, ok := strings.CutPrefix(p.topic, credentialsRequest); ok && rawRID(query) != "" {
		s.note("asked for a certificate, which the emulator does not issue")
		return nil
	}
	return s.violation(refuseTopic, "published to %.100q, which is not a documented topic", p.topic)
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

func (h *hub) violation(r refusal, conn *connection, sentence string) error {
	h.cloud.mu.Lock()
	defer h.cloud.unlock()
	switch s := h.byConnection[conn]; {
	case s != nil:
		return s.violation(r, "%s", sentence)
	case conn.loggedIn: // the session has ended, so the client can no longer break a rule
		return errEnded
	}
	return h.cloud.violation(r, h.name, "", "%s", sentence)
}
