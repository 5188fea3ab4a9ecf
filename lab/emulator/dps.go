package emulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	dpsFilter   = "$dps/registrations/res/#"
	dpsRegister = "$dps/registrations/PUT/iotdps-register/?"
	dpsPoll     = "$dps/registrations/GET/iotdps-get-operationstatus/?"
	dpsMessage  = 96 << 10 // bytes; azure-docs includes/iot-dps-limits.md
)

// errGone ends a connection that is no client any more, without counting a violation.
var errGone = errors.New("emulator: the connection has ended")

// dps is the Device Provisioning Service.
type dps struct {
	cloud     *Cloud
	door      *door
	clients   map[*link]*registrant
	registers map[string]int         // PUTs by registration ID
	payloads  map[string][]byte      // the last payload by registration ID
	polls     map[string][]time.Time // the GETs within the window by registration ID
}

// A registrant is one connection to DPS. Every session there is a clean one.
type registrant struct {
	id, scope  string
	subscribed bool
	qos        byte
	packet     uint16
	agenda     agenda
}

func newDPS(c *Cloud) *dps {
	p := &dps{
		cloud: c, clients: map[*link]*registrant{}, registers: map[string]int{},
		payloads: map[string][]byte{}, polls: map[string][]time.Time{},
	}
	p.door = newDoor(c, TargetDPS, p)
	return p
}

func (p *dps) connect(l *link, r connectRequest) byte {
	c := p.cloud
	if c.enter(l) != nil {
		return unanswered
	}
	defer c.unlock()
	if l.gone() {
		return unanswered
	}
	if code := c.turnedAway(l, p.door, "DPS", r.clientID); code != accepted {
		return code
	}
	scope, id, notes, err := parseDPSUsername(r.username)
	if err == nil && r.clientID != id {
		err = fmt.Errorf("the client ID %.200q is not the registration ID %q", r.clientID, id)
	}
	if err != nil {
		_ = c.breach("DPS", id, "sent a CONNECT in which %v", err)
		return refusedMalformed
	}
	if err := p.authenticate(scope, id, r.password); err != nil {
		c.refuse(l, "DPS", id, "CONNACK 5: %v", err)
		return refusedCredentials
	}
	for other, client := range p.clients {
		if client.id == id {
			p.dismiss(other, "a second connection took over")
		}
	}
	p.clients[l] = &registrant{id: id, scope: scope, agenda: agenda{cloud: c}}
	c.tell(KindConnected, "DPS", id, "connected")
	c.note("DPS", id, notes...)
	return accepted
}

func (p *dps) authenticate(scope, id, password string) error {
	t, err := parseToken(password)
	if err != nil {
		return err
	}
	switch t.policy {
	case "registration":
	case "": // the documents want it (azure-docs iot-dps/iot-mqtt-connect-to-iot-dps.md); these SDKs work without it
		t.notes = append(t.notes, "signed a token without skn=registration, as Microsoft's SDKs for Python and Java do")
	default:
		return fmt.Errorf("the token's skn is %.60q, where registration belongs", t.policy)
	}
	if _, err = t.check(p.cloud.keyOf(id), scope+"/registrations/"+id, p.door.now()); err == nil {
		p.cloud.note("DPS", id, t.notes...)
	}
	return err
}

func (p *dps) subscribe(l *link, filters []subscription) error {
	if p.cloud.enter(l) != nil {
		return errGone
	}
	defer p.cloud.unlock()
	r := p.clients[l]
	if r == nil {
		return errGone
	}
	if p.cloud.suback(l, p.door.faults) == subackRefuses {
		p.cloud.tell(KindLizard, "DPS", r.id, "a subscription was refused")
		return nil
	}
	for _, f := range filters {
		if f.filter != dpsFilter {
			return p.cloud.breach("DPS", r.id, "subscribed to %.100q; there is only %s", f.filter, dpsFilter)
		}
		r.subscribed, r.qos = true, f.qos
	}
	return nil
}

func (p *dps) unsubscribe(l *link, filters []string) error {
	if p.cloud.enter(l) != nil {
		return errGone
	}
	defer p.cloud.unlock()
	if r := p.clients[l]; r != nil {
		for _, filter := range filters {
			r.subscribed = r.subscribed && filter != dpsFilter
		}
	}
	return nil
}

func (p *dps) publish(l *link, m publication) error {
	c := p.cloud
	if c.enter(l) != nil {
		return errGone
	}
	defer c.unlock()
	r := p.clients[l]
	if r == nil {
		return errGone
	}
	query, isRegister := strings.CutPrefix(m.topic, dpsRegister)
	if !isRegister {
		var isPoll bool
		if query, isPoll = strings.CutPrefix(m.topic, dpsPoll); !isPoll {
			return c.breach("DPS", r.id, "published to %.100q, which is no topic of DPS", m.topic)
		}
	}
	values, err := parameters(query)
	switch {
	case m.qos == 2:
		return c.breach("DPS", r.id, "published at QoS 2")
	case len(m.payload) > dpsMessage:
		return c.breach("DPS", r.id, "sent %d bytes; DPS takes %d", len(m.payload), dpsMessage)
	case err != nil || values["$rid"] == "":
		return c.breach("DPS", r.id, "published to %.100q, which has no $rid", m.topic)
	}
	request := dpsRequest{dps: p, link: l, registrant: r, rid: rawRID(query)}
	if isRegister {
		request.register(m.payload)
	} else {
		request.poll(values["operationId"])
	}
	return nil
}

func (p *dps) welcome(l *link) {
	p.cloud.mu.Lock()
	defer p.cloud.unlock()
	if p.clients[l] != nil {
		p.door.welcome(l)
	}
}

func (p *dps) dismiss(l *link, why string) {
	if p.clients[l] != nil {
		p.drop(l, why)
		_ = l.Close()
	}
}

func (p *dps) subscribed(*link)           {}
func (p *dps) acknowledged(*link, uint16) {}

func (p *dps) breach(l *link, sentence string) error {
	p.cloud.mu.Lock()
	defer p.cloud.unlock()
	switch r := p.clients[l]; {
	case r != nil:
		return p.cloud.breach("DPS", r.id, "%s", sentence)
	case l.greeted: // its session has ended, so nothing it does counts any more
		return errGone
	}
	return p.cloud.breach("DPS", "", "%s", sentence)
}

func (p *dps) ended(l *link, why string) {
	p.cloud.mu.Lock()
	defer p.cloud.unlock()
	if p.clients[l] != nil {
		p.drop(l, why)
	} else if !l.greeted && !l.refused {
		p.cloud.tell(KindRefused, "DPS", "", "%s", why)
	}
}

func (p *dps) drop(l *link, why string) {
	p.cloud.tell(KindDisconnected, "DPS", p.clients[l].id, "%s", why)
	p.clients[l].agenda.drop()
	delete(p.clients, l)
}

func (p *dps) dropAll(why string) {
	for _, l := range slices.SortedFunc(maps.Keys(p.clients), func(a, b *link) int { return a.number - b.number }) {
		p.drop(l, why)
	}
}
