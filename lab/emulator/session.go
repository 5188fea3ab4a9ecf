package emulator

import (
	"maps"
	"slices"
	"time"
)

// A session is a device's session at a hub. After its end it is not in the hub's maps, and its
// packets are ignored.
type session struct {
	hub         *hub
	device      *device
	conn        *connection
	filters     map[string]byte
	will        *publication
	expires     time.Time   // time at which the token expires
	expiryTimer *time.Timer // timer that ends the session after its token has expired
	pubacks     schedule    // of the fault LatePUBACK
	answers     schedule    // to twin requests
	flapTimer   *time.Timer
}

// startSession starts a session. CONNACK is written after the lock is released; publications wait
// for CONNACK.
func (h *hub) startSession(conn *connection, d *device, r connectRequest, expires time.Time) {
	s := &session{
		hub: h, device: d, conn: conn, filters: map[string]byte{}, will: r.will, expires: expires,
		pubacks: schedule{cloud: h.cloud}, answers: schedule{cloud: h.cloud},
	}
	if r.clean {
		delete(h.keptFilters, d.id)
		d.purgeQueue()
	} else if kept := h.keptFilters[d.id]; kept != nil {
		s.filters, conn.sessionPresent = kept, true
	} else {
		h.keptFilters[d.id] = s.filters
	}
	h.byConnection[conn], h.byDevice[d.id] = s, s
	d.hadSession, d.connectionUpdated = true, time.Now()
	d.connectCounts[h.name]++
	h.cloud.emit(KindConnected, h.name, d.id, "session present: %t", conn.sessionPresent)
	s.watchToken()
	d.deliver()
}

// close ends a session and closes its connection. It stores the will, unless the client sent
// DISCONNECT, or the will is not telemetry.
func (h *hub) close(s *session, why string) {
	if s.will != nil && !s.conn.disconnected.Load() {
		s.storeWill()
	}
	h.endSession(s, why)
	_ = s.conn.Close()
}

// endSession ends a session. The caller closes the connection.
func (h *hub) endSession(s *session, why string) {
	delete(h.byConnection, s.conn)
	delete(h.byDevice, s.device.id)
	s.device.connectionUpdated = time.Now()
	if s.expiryTimer != nil {
		s.expiryTimer.Stop()
	}
	if s.flapTimer != nil {
		s.flapTimer.Stop()
	}
	s.pubacks.stop()
	s.answers.stop()
	h.cloud.reportEnd(KindDisconnected, h.name, s.device.id, why)
}

// endSessions ends all sessions without storing wills, because the hub is down.
func (h *hub) endSessions(why string) {
	for _, id := range slices.Sorted(maps.Keys(h.byDevice)) {
		h.endSession(h.byDevice[id], why)
	}
}

// connectionEnded ends the session of a connection, if it has one. If the client has not logged
// in, connectionEnded emits that the connection was refused.
func (h *hub) connectionEnded(conn *connection, why string) {
	h.cloud.mu.Lock()
	defer h.cloud.unlock()
	if s := h.byConnection[conn]; s != nil {
		h.close(s, why)
	} else if !conn.loggedIn && !conn.refusalReported {
		h.cloud.reportEnd(KindRefused, h.name, "", why)
	}
}

// Subscriptions returns the topic filters of a device's session at a hub, sorted. The device need
// not be connected.
func (c *Cloud) Subscriptions(deviceID, hubName string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, err := c.hub(hubName)
	if err != nil {
		return nil
	}
	filters := h.keptFilters[deviceID]
	if s := h.byDevice[deviceID]; s != nil {
		filters = s.filters
	}
	return slices.Sorted(maps.Keys(filters))
}

func (s *session) note(sentences ...string) {
	s.hub.cloud.note(s.hub.name, s.device.id, sentences...)
}

func (s *session) violation(r refusal, format string, values ...any) error {
	return s.hub.cloud.violation(r, s.hub.name, s.device.id, format, values...)
}
