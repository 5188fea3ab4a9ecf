package emulator

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

const maximumSubscriptions = 5 // at a time; azure-docs iot/iot-mqtt-connect-to-iot-hub.md

// A hub is one IoT hub. What it keeps by itself is who is connected and what they subscribed to.
type hub struct {
	cloud   *Cloud
	name    string // "A"
	host    string // the assigned hub that DPS names, as it stands in user names and tokens
	address string // host:port
	door    *door

	links    map[*link]*session
	sessions map[string]*session        // the same ones by device ID
	kept     map[string]map[string]byte // filters by device ID, and their QoS: what CleanSession 0 leaves behind
}

func newHub(c *Cloud, name string) *hub {
	h := &hub{
		cloud: c, name: name, links: map[*link]*session{}, sessions: map[string]*session{}, kept: map[string]map[string]byte{},
	}
	h.door = newDoor(c, name, h)
	return h
}

func (h *hub) connect(l *link, r connectRequest) byte {
	c := h.cloud
	if c.enter(l) != nil {
		return unanswered
	}
	defer c.unlock()
	if l.gone() {
		return unanswered
	}
	if code := c.turnedAway(l, h.door, h.name, r.clientID); code != accepted {
		return code
	}
	host, id, model, notes, err := parseHubUsername(r.username)
	if err == nil && r.clientID != id {
		err = fmt.Errorf("the client ID %.200q is not the device ID %q", r.clientID, id)
	}
	if err == nil {
		err = checkWill(id, r.will)
	}
	if err != nil {
		_ = c.breach(h.name, id, "sent a CONNECT in which %v", err)
		return refusedMalformed
	}
	d, expires, err := h.authenticate(host, id, r.password)
	if err != nil {
		c.refuse(l, h.name, id, "CONNACK 5: %v", err)
		return refusedCredentials
	}
	if old := h.sessions[id]; old != nil {
		h.part(old, "a second connection took over")
	}
	if model != "" {
		d.model = model
	}
	h.begin(l, d, r, expires)
	c.note(h.name, id, notes...)
	return accepted
}

func (h *hub) authenticate(host, id, password string) (*device, time.Time, error) {
	var none time.Time
	d := h.cloud.devices[id]
	switch {
	case !strings.EqualFold(host, h.host):
		return nil, none, fmt.Errorf("the user name names %.100q, and this is %s", host, h.host)
	case d == nil || d.hub == nil:
		return nil, none, errors.New("the device is not registered")
	case d.hub != h:
		return nil, none, fmt.Errorf("the device belongs to hub %s", d.hub.name)
	}
	if err := d.barred(); err != nil {
		return nil, none, err
	}
	t, err := parseToken(password)
	if err != nil {
		return nil, none, err
	}
	if t.policy != "" { // absent in a token signed with a device's key, and a hub here has no shared access policies
		return nil, none, errors.New("the token has a skn, which a device's has not")
	}
	expires, err := t.check(d.key, h.host+"/devices/"+id, h.door.now())
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

func (h *hub) subscribe(l *link, filters []subscription) error {
	c := h.cloud
	if c.enter(l) != nil {
		return errGone
	}
	defer c.unlock()
	s := h.links[l]
	if s == nil {
		return errGone
	}
	if c.suback(l, s.device.faults, h.door.faults) == subackRefuses {
		c.tell(KindLizard, h.name, s.device.id, "a subscription was refused")
		return nil
	}
	for _, f := range filters {
		_, again := s.filters[f.filter]
		switch {
		case !again && len(s.filters) == maximumSubscriptions:
			return s.breach("subscribed to %.100q, a sixth subscription", f.filter)
		case !isDocumented(f.filter, s.device.id):
			return s.breach("subscribed to %.100q, which is no documented topic filter", f.filter)
		}
		s.filters[f.filter] = f.qos
		c.tell(KindSubscribed, h.name, s.device.id, "to %s", f.filter)
	}
	return nil
}

func (h *hub) welcome(l *link) {
	h.cloud.mu.Lock()
	defer h.cloud.unlock()
	if s := h.links[l]; s != nil {
		s.flap()
		h.door.welcome(l)
	}
}

func (h *hub) dismiss(l *link, why string) {
	if s := h.links[l]; s != nil {
		h.part(s, why)
	}
}

// subscribed starts delivery, so that SUBACK comes first.
func (h *hub) subscribed(l *link) {
	if h.cloud.enter(l) != nil {
		return
	}
	defer h.cloud.unlock()
	if s := h.links[l]; s != nil {
		s.device.deliver()
	}
}

func (h *hub) unsubscribe(l *link, filters []string) error {
	if h.cloud.enter(l) != nil {
		return errGone
	}
	defer h.cloud.unlock()
	s := h.links[l]
	if s == nil {
		return errGone
	}
	for _, filter := range filters {
		delete(s.filters, filter)
		h.cloud.tell(KindSubscribed, h.name, s.device.id, "no more to %s", filter)
	}
	return nil
}

func (h *hub) publish(l *link, p publication) error {
	if h.cloud.enter(l) != nil {
		return errGone
	}
	defer h.cloud.unlock()
	s := h.links[l]
	if s == nil {
		return errGone
	}
	if err := s.published(p); err != nil {
		return err
	}
	return s.acknowledge(p)
}

func (s *session) published(p publication) error {
	if p.qos == 2 {
		return s.breach("published at QoS 2")
	}
	if strings.HasPrefix(p.topic, "devices/") {
		return s.telemetry(p)
	}
	if rest, ok := strings.CutPrefix(p.topic, methodReply); ok {
		return s.methodAnswered(rest, p.payload)
	}
	if query, ok := strings.CutPrefix(p.topic, twinGet); ok {
		return s.twinAsked(query)
	}
	if query, ok := strings.CutPrefix(p.topic, twinReport); ok {
		return s.twinReported(query, p.payload)
	}
	return s.breach("published to %.100q, which is no documented topic", p.topic)
}

func (h *hub) acknowledged(l *link, id uint16) {
	if h.cloud.enter(l) != nil {
		return
	}
	defer h.cloud.unlock()
	if s := h.links[l]; s != nil {
		s.device.complete(s, id)
	}
}

func (h *hub) breach(l *link, sentence string) error {
	h.cloud.mu.Lock()
	defer h.cloud.unlock()
	switch s := h.links[l]; {
	case s != nil:
		return s.breach("%s", sentence)
	case l.greeted: // its session has ended, so nothing it does counts any more
		return errGone
	}
	return h.cloud.breach(h.name, "", "%s", sentence)
}
