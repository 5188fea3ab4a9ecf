package emulator

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	dpsFilter         = "$dps/registrations/res/#"
	dpsRegister       = "$dps/registrations/PUT/iotdps-register/?"
	dpsPoll           = "$dps/registrations/GET/iotdps-get-operationstatus/?"
	maximumDPSPayload = 96 << 10 // size in bytes; azure-docs includes/iot-dps-limits.md
)

// errEnded ends a connection whose session has ended, without a violation.
var errEnded = errors.New("emulator: the connection has ended")

// dps is the Device Provisioning Service.
type dps struct {
	cloud          *Cloud
	frontend       *frontend
	clients        map[*connection]*dpsClient
	registerCounts map[string]int         // number of register requests, by registration ID
	lastPayloads   map[string][]byte      // payload of the last register request, by registration ID
	recentPolls    map[string][]time.Time // times of the polls within pollWindow, by registration ID
	gate           Gate                   // for register requests
}

// A dpsClient is a client's session at DPS. All sessions of DPS are clean sessions.
type dpsClient struct {
	id, scope  string
	subscribed bool
	qos        byte
	packet     uint16
	answers    schedule
}

func newDPS(c *Cloud) *dps {
	p := &dps{
		cloud: c, clients: map[*connection]*dpsClient{}, registerCounts: map[string]int{},
		lastPayloads: map[string][]byte{}, recentPolls: map[string][]time.Time{},
		gate: NewGate(c.config.Registrations, time.Minute),
	}
	p.frontend = newFrontend(c, TargetDPS, p)
	return p
}

func (p *dps) connect(conn *connection, r connectRequest) byte {
	c := p.cloud
	if c.lockForPacket(conn) != nil {
		return unanswered
	}
	defer c.unlock()
	if conn.isEnding() {
		return unanswered
	}
	if code := c.faultRefusal(conn, p.frontend, "DPS", r.clientID); code != accepted {
		return code
	}
	scope, id, notes, err := parseDPSUsername(r.username)
	if err == nil && r.clientID != id {
		err = refuse(refuseClientID, "the client ID %.200q is not the registration ID %q", r.clientID, id)
	}
	if err != nil {
		_ = c.violation(refusalOf(err), "DPS", id, "sent a CONNECT in which %v", err)
		return refusedMalformed
	}
	if err := p.authenticate(scope, id, r.password); err != nil {
		c.reportRefusal(refusalOf(err), conn, "DPS", id, "CONNACK 5: %v", err)
		return refusedCredentials
	}
	for other, client := range p.clients {
		if client.id == id {
			p.closeSession(other, endedByTakeover)
		}
	}
	p.clients[conn] = &dpsClient{id: id, scope: scope, answers: schedule{cloud: c}}
	c.emit(KindConnected, "DPS", id, "")
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
	case "": // azure-docs iot-dps/iot-mqtt-connect-to-iot-dps.md requires skn, but SDKs work without it
		t.notes = append(t.notes, "signed a token without skn=registration, as Microsoft's SDKs for Python and Java do")
	default:
		return refuse(refuseToken, "the token's skn is %.60q instead of registration", t.policy)
	}
	if err = p.cloud.provisioning.check(t, id, scope+"/registrations/"+id, p.frontend.now()); err == nil {
		p.cloud.note("DPS", id, t.notes...)
	}
	return err
}

func (p *dps) subscribe(conn *connection, filters []subscription) error {
	if p.cloud.lockForPacket(conn) != nil {
		return errEnded
	}
	defer p.cloud.unlock()
	r := p.clients[conn]
	if r == nil {
		return errEnded
	}
	if p.cloud.decideSUBACK(conn, p.frontend.faults) == subackRefuses {
		p.cloud.emit(KindLizard, "DPS", r.id, "a subscription was refused")
		return nil
	}
	for _, f := range filters {
		if f.filter != dpsFilter {
			return p.cloud.violation(refuseFilter, "DPS", r.id, "subscribed to %.100q; DPS has only %s", f.filter,
				dpsFilter)
		}
		r.subscribed, r.qos = true, f.qos
	}
	return nil
}

func (p *dps) unsubscribe(conn *connection, filters []string) error {
	if p.cloud.lockForPacket(conn) != nil {
		return errEnded
	}
	defer p.cloud.unlock()
	if r := p.clients[conn]; r != nil {
		for _, filter := range filters {
			r.subscribed = r.subscribed && filter != dpsFilter
		}
	}
	return nil
}

func (p *dps) publish(conn *connection, m publication) error {
	c := p.cloud
	if c.lockForPacket(conn) != nil {
		return errEnded
	}
	defer c.unlock()
	r := p.clients[conn]
	if r == nil {
		return errEnded
	}
	query, isRegister := strings.CutPrefix(m.topic, dpsRegister)
	if !isRegister {
		var isPoll bool
		if query, isPoll = strings.CutPrefix(m.topic, dpsPoll); !isPoll {
			return c.violation(refuseTopic, "DPS", r.id, "published to %.100q, which is not a topic of DPS", m.topic)
		}
	}
	request := dpsRequest{dps: p, conn: conn, client: r, rid: rawRID(query)}
	switch {
	case m.qos == 2:
		return c.violation(refuseQoS2, "DPS", r.id, "published at QoS 2")
	case len(m.payload) > maximumDPSPayload:
		return c.violation(refuseMessageSize, "DPS", r.id, "sent %d bytes; the limit of DPS is %d", len(m.payload),
			maximumDPSPayload)
	case request.rid == "":
		return c.violation(refuseTopic, "DPS", r.id, "published to %.100q, which has no $rid", m.topic)
	}
	if isRegister {
		request.register(m.payload)
	} else {
		values, _, _ := parameters(query)
		request.poll(values["operationId"])
	}
	return nil
}

func (p *dps) connackWritten(conn *connection) {
	p.cloud.mu.Lock()
	defer p.cloud.unlock()
	if p.clients[conn] != nil {
		p.frontend.afterCONNACK(conn)
	}
}

func (p *dps) closeSession(conn *connection, why string) {
	if p.clients[conn] != nil {
		p.endSession(conn, why)
		_ = conn.Close()
	}
}

func (p *dps) subackWritten(*connection)        {}
func (p *dps) acknowledged(*connection, uint16) {}

func (p *dps) violation(r refusal, conn *connection, sentence string) error {
	p.cloud.mu.Lock()
	defer p.cloud.unlock()
	switch client := p.clients[conn]; {
	case client != nil:
		return p.cloud.violation(r, "DPS", client.id, "%s", sentence)
	case conn.loggedIn: // the session has ended, so the client can no longer break a rule
		return errEnded
	}
	return p.cloud.violation(r, "DPS", "", "%s", sentence)
}

func (p *dps) connectionEnded(conn *connection, why string) {
	p.cloud.mu.Lock()
	defer p.cloud.unlock()
	if p.clients[conn] != nil {
		p.endSession(conn, why)
	} else if !conn.loggedIn && !conn.refusalReported {
		p.cloud.reportEnd(KindRefused, "DPS", "", why)
	}
}

func (p *dps) endSession(conn *connection, why string) {
	p.cloud.reportEnd(KindDisconnected, "DPS", p.clients[conn].id, why)
	p.clients[conn].answers.stop()
	delete(p.clients, conn)
}

func (p *dps) endSessions(why string) {
	for _, conn := range slices.SortedFunc(maps.Keys(p.clients), byNumber) {
		p.endSession(conn, why)
	}
}
