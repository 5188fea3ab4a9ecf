package emulator

import (
	"maps"
	"slices"
	"time"
)

// A session is a device's connection to a hub. One that is not in its hub's maps any more has ended, and nothing is
// taken from or stored for it.
type session struct {
	hub         *hub
	device      *device
	conn        *connection
	filters     map[string]byte
	will        *publication
	expires     time.Time   // its token
	expiryTimer *time.Timer // of the session with it
	schedule    schedule
	flapTimer   *time.Timer
}

// begin makes the session; CONNACK follows once the lock is released, and whatever is sent before waits for it.
func (h *hub) startSession(conn *connection, d *device, r connectRequest, expires time.Time) {
	s := &session{hub: h, device: d, conn: conn, filters: map[string]byte{}, will: r.will, expires: expires, schedule: schedule{cloud: h.cloud}}
	if r.clean {
		delete(h.keptFilters, d.id)
		d.purgeQueue()
	} else if kept := h.keptFilters[d.id]; kept != nil {
		s.filters, conn.sessionPresent = kept, true
	} else {
		h.keptFilters[d.id] = s.filters
	}
	h.byConnection[conn], h.byDevice[d.id] = s, s
	d.hadSession = true
	d.connectCounts[h.name]++
	h.cloud.emit(KindConnected, h.name, d.id, "connected, session present: %t", conn.sessionPresent)
	s.watchToken()
	d.deliver()
}

// part ends a session and its connection; a hub that lives stores the will of whoever did not say DISCONNECT.
func (h *hub) close(s *session, why string) {
	if s.will != nil && !s.conn.disconnected.Load() {
		s.storeWill()
	}
	h.endSession(s, why)
	_ = s.conn.Close()
}

// drop ends a session for the cloud; what becomes of the connection is the caller's business.
func (h *hub) endSession(s *session, why string) {
	delete(h.byConnection, s.conn)
	delete(h.byDevice, s.device.id)
	if s.expiryTimer != nil {
		s.expiryTimer.Stop()
	}
	if s.flapTimer != nil {
		s.flapTimer.Stop()
	}
	s.schedule.stop()
	h.cloud.emit(KindDisconnected, h.name, s.device.id, "%s", why)
}

// dropAll ends every session, without wills: the hub is no longer there to store them.
func (h *hub) endSessions(why string) {
	for _, id := range slices.Sorted(maps.Keys(h.byDevice)) {
		h.endSession(h.byDevice[id], why)
	}
}

// ended is the end of a connection that the cloud did not end itself, or the last word on one that it did.
func (h *hub) connectionEnded(conn *connection, why string) {
	h.cloud.mu.Lock()
	defer h.cloud.unlock()
	if s := h.byConnection[conn]; s != nil {
		h.close(s, why)
	} else if !conn.loggedIn && !conn.refusalReported {
		h.cloud.emit(KindRefused, h.name, "", "%s", why)
	}
}

// Subscriptions are the topic filters of a device's session at a hub, sorted, whether or not it is connected.
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

func (s *session) violation(format string, values ...any) error {
	return s.hub.cloud.violation(s.hub.name, s.device.id, format, values...)
}
