package emulator

import (
	"maps"
	"slices"
	"time"
)

// A session is a device's connection to a hub. One that is not in its hub's maps any more has ended, and nothing is
// taken from or stored for it.
type session struct {
	hub      *hub
	device   *device
	link     *link
	filters  map[string]byte
	will     *publication
	expires  time.Time   // its token
	expiry   *time.Timer // of the session with it
	agenda   agenda
	flapping *time.Timer
}

// begin makes the session; CONNACK follows once the lock is released, and whatever is sent before waits for it.
func (h *hub) begin(l *link, d *device, r connectRequest, expires time.Time) {
	s := &session{hub: h, device: d, link: l, filters: map[string]byte{}, will: r.will, expires: expires, agenda: agenda{cloud: h.cloud}}
	if r.clean {
		delete(h.kept, d.id)
		d.purge()
	} else if kept := h.kept[d.id]; kept != nil {
		s.filters, l.present = kept, true
	} else {
		h.kept[d.id] = s.filters
	}
	h.links[l], h.sessions[d.id] = s, s
	d.met = true
	d.connect[h.name]++
	h.cloud.tell(KindConnected, h.name, d.id, "connected, session present: %t", l.present)
	s.watchToken()
	d.deliver()
}

// part ends a session and its connection; a hub that lives stores the will of whoever did not say DISCONNECT.
func (h *hub) part(s *session, why string) {
	if s.will != nil && !s.link.parted.Load() {
		s.leaveWill()
	}
	h.drop(s, why)
	_ = s.link.Close()
}

// drop ends a session for the cloud; what becomes of the connection is the caller's business.
func (h *hub) drop(s *session, why string) {
	delete(h.links, s.link)
	delete(h.sessions, s.device.id)
	if s.expiry != nil {
		s.expiry.Stop()
	}
	if s.flapping != nil {
		s.flapping.Stop()
	}
	s.agenda.drop()
	h.cloud.tell(KindDisconnected, h.name, s.device.id, "%s", why)
}

// dropAll ends every session, without wills: the hub is no longer there to store them.
func (h *hub) dropAll(why string) {
	for _, id := range slices.Sorted(maps.Keys(h.sessions)) {
		h.drop(h.sessions[id], why)
	}
}

// ended is the end of a connection that the cloud did not end itself, or the last word on one that it did.
func (h *hub) ended(l *link, why string) {
	h.cloud.mu.Lock()
	defer h.cloud.unlock()
	if s := h.links[l]; s != nil {
		h.part(s, why)
	} else if !l.greeted && !l.refused {
		h.cloud.tell(KindRefused, h.name, "", "%s", why)
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
	filters := h.kept[deviceID]
	if s := h.sessions[deviceID]; s != nil {
		filters = s.filters
	}
	return slices.Sorted(maps.Keys(filters))
}

func (s *session) breach(format string, values ...any) error {
	return s.hub.cloud.breach(s.hub.name, s.device.id, format, values...)
}
