package emulator

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/mochi-mqtt/server/v2/system"
)

// Only this file knows the broker, mochi. mochi reads and writes the packets and sends PUBACK,
// SUBACK and PINGRESP. The endpoints own sessions, subscriptions, in-flight messages, wills,
// deadlines and all rules. Each CONNECT is passed to mochi with a unique client ID, without will
// and keep-alive, and as a clean session. So mochi keeps no state, takes over no session and sends
// nothing by itself.

// maximumPacket has room for the longest topic and 256 KB. The endpoints check the exact limits.
// Without this limit mochi would allocate 256 MB for a header that announces them.
const maximumPacket = 256<<10 + 1<<16 + 64

// A connection is one connection of a client, as the endpoints see it.
type connection struct {
	*tlsConn
	endpoint       endpoint
	number         int
	client         *mqtt.Client
	sessionPresent bool        // the session-present flag of CONNACK; set by the endpoint's connect
	loggedIn       bool        // the endpoint accepted CONNECT
	disconnected   atomic.Bool // the client sent DISCONNECT
	subackFault    subackFault // the fault for the SUBACK of the SUBSCRIBE that is being read
	withholdPUBACK bool        // mochi must not acknowledge the packet that is being read

	connackWritten  bool // CONNACK was written; guarded by the cloud's lock
	refusalReported bool // an event was emitted for the refusal; guarded by the cloud's lock

	sendMu      sync.Mutex
	connackSent bool          // CONNACK was sent, so publications are sent at once
	heldBack    []publication // publications to send after CONNACK
}

func newConnection(raw net.Conn, config *tls.Config, to endpoint, number int) *connection {
	return &connection{tlsConn: newTLSConn(raw, config), endpoint: to, number: number}
}

// send publishes to this client only. It does not block. Before CONNACK it holds the publication
// back.
func (conn *connection) send(p publication) {
	conn.sendMu.Lock()
	defer conn.sendMu.Unlock()
	if !conn.connackSent {
		conn.heldBack = append(conn.heldBack, p)
		return
	}
	conn.write(p)
}

func (conn *connection) write(p publication) {
	_ = conn.client.WritePacket(packets.Packet{ // on an error the connection has ended, and its reader reports that
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: p.qos, Dup: p.resent},
		TopicName:   p.topic,
		Payload:     p.payload,
		PacketID:    p.id,
	})
}

type broker struct {
	server mqtt.Server
	names  atomic.Int64
}

// template is the server that newBroker copies. mqtt.New starts tickers that cannot be stopped. The
// tickers of a package variable belong to no testing/synctest bubble, and they cost nothing, because
// Serve is never called.
var template = newTemplate()

func newTemplate() *mqtt.Server {
	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.MaximumPacketSize = maximumPacket
	capabilities.MaximumClientWritesPending = 1 // smallest queue, because the queue of mochi is never used
	capabilities.MaximumQos = 1
	capabilities.RetainAvailable = 0
	server := mqtt.New(&mqtt.Options{
		Capabilities:           capabilities,
		Logger:                 slog.New(slog.DiscardHandler),
		SysTopicResendInterval: 3600,
	})
	if err := server.AddHook(new(hook), nil); err != nil {
		panic(err) // only a programming error in this file causes this error
	}
	return server
}

func newBroker() *broker {
	b := &broker{server: *template}
	b.server.Listeners = listeners.New()
	b.server.Clients = mqtt.NewClients()
	b.server.Topics = mqtt.NewTopicsIndex()
	b.server.Info = new(system.Info)
	return b
}

// serve reads the packets of the client until the connection ends, and returns the reason.
func (b *broker) serve(conn *connection) string {
	// mochi stores the name as that of the listener. handleConnect uses it as client ID.
	name := strconv.FormatInt(b.names.Add(1), 10)
	err := b.server.EstablishConnection(name, conn)
	conn.mu.Lock()
	failure, ended := conn.readErr, conn.closed
	conn.mu.Unlock()
	var timeout net.Error
	switch {
	case conn.disconnected.Load():
		return "DISCONNECT"
	case errors.Is(err, packets.ErrRejectPacket):
		return "closed by the service"
	case errors.As(failure, &timeout) && timeout.Timeout() && !conn.loggedIn:
		return endedWithoutCONNECT
	case errors.As(failure, &timeout) && timeout.Timeout():
		return endedBySilence
	case failure != nil:
		return failure.Error()
	case !ended && errors.Is(err, packets.ErrPacketTooLarge):
		_ = conn.endpoint.violation(refuseMessageSize, conn,
			fmt.Sprintf("sent a packet of more than %d bytes", maximumPacket))
	case err != nil && !ended && !errors.Is(err, net.ErrClosed):
		_ = conn.endpoint.violation(refuseMQTT, conn, "sent what MQTT 3.1.1 does not allow: "+err.Error())
	}
	return "closed by the service"
}

// A hook sees each packet before mochi acts on it.
type hook struct{ mqtt.HookBase }

func (*hook) ID() string { return "endpoint" }

func (*hook) Provides(what byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPacketRead, mqtt.OnPacketEncode,
		mqtt.OnSessionEstablished, mqtt.OnPacketProcessed, mqtt.OnPublish,
	}, what) >= 0
}

func (*hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (*hook) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// OnPublish prevents mochi from forwarding a message to subscribers.
func (*hook) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	return pk, packets.CodeSuccessIgnore
}

func (*hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		pk.SessionPresent = pk.ReasonCode == accepted && cl.Net.Conn.(*connection).sessionPresent
	case packets.Suback:
		pk.ReasonCodes = cl.Net.Conn.(*connection).subackFault.apply(pk.ReasonCodes)
	}
	return pk
}

func (*hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	conn := cl.Net.Conn.(*connection)
	conn.endpoint.connackWritten(conn)
	conn.sendMu.Lock()
	defer conn.sendMu.Unlock()
	conn.connackSent = true
	for _, p := range conn.heldBack {
		conn.write(p)
	}
	conn.heldBack = nil
}

func (*hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	if err == nil && pk.FixedHeader.Type == packets.Subscribe {
		conn := cl.Net.Conn.(*connection)
		conn.endpoint.subackWritten(conn)
	}
}

// OnPacketRead passes a packet to the endpoint. ErrRejectPacket makes mochi close the connection.
func (*hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	conn := cl.Net.Conn.(*connection)
	if !conn.loggedIn {
		return conn.handleConnect(cl, pk)
	}
	if conn.handle(&pk) != nil {
		return pk, packets.ErrRejectPacket
	}
	if conn.withholdPUBACK {
		pk.FixedHeader.Qos, pk.PacketID, conn.withholdPUBACK = 0, 0, false
	}
	return pk, nil
}

// puback sends a PUBACK that mochi did not send.
func (conn *connection) puback(id uint16) {
	_ = conn.client.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
}

func (conn *connection) handle(pk *packets.Packet) error {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return conn.handlePublish(pk)
	case packets.Subscribe:
		filters := make([]subscription, len(pk.Filters))
		for i := range pk.Filters {
			pk.Filters[i].Qos = min(pk.Filters[i].Qos, 1)
			filters[i] = subscription{pk.Filters[i].Filter, pk.Filters[i].Qos}
		}
		return conn.endpoint.subscribe(conn, filters)
	case packets.Unsubscribe:
		filters := make([]string, len(pk.Filters))
		for i := range pk.Filters {
			filters[i] = pk.Filters[i].Filter
		}
		return conn.endpoint.unsubscribe(conn, filters)
	case packets.Puback:
		conn.endpoint.acknowledged(conn, pk.PacketID)
	case packets.Disconnect:
		conn.disconnected.Store(true)
	case packets.Pingreq:
	default:
		what := fmt.Sprintf("sent a packet of type %d, which a client may not send now", pk.FixedHeader.Type)
		return conn.endpoint.violation(refuseMQTT, conn, what)
	}
	return nil
}

func (conn *connection) handlePublish(pk *packets.Packet) error {
	switch {
	case pk.FixedHeader.Qos > 0 && pk.PacketID == 0:
		return conn.endpoint.violation(refuseMQTT, conn, "published without a packet identifier")
	case pk.TopicName == "" || strings.ContainsAny(pk.TopicName, "+#"):
		return conn.endpoint.violation(refuseMQTT, conn,
			fmt.Sprintf("published to %.100q, which is not a topic name", pk.TopicName))
	}
	return conn.endpoint.publish(conn, publication{
		topic: pk.TopicName, payload: pk.Payload, qos: pk.FixedHeader.Qos, id: pk.PacketID,
		retain: pk.FixedHeader.Retain, resent: pk.FixedHeader.Dup,
	})
}

// handleConnect checks CONNECT. It writes the CONNACK of a refusal itself, because mochi closes the
// connection without a CONNACK.
func (conn *connection) handleConnect(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	conn.client = cl
	code := conn.checkConnect(pk)
	if code != accepted {
		if code != unanswered {
			_ = cl.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack},
				ReasonCode: code})
		}
		return pk, packets.ErrRejectPacket
	}
	conn.loggedIn = true
	idle := time.Duration(pk.Connect.Keepalive) * time.Second * 3 / 2
	if idle == 0 || idle > maximumIdle {
		idle = maximumIdle
	}
	conn.setIdleTimeout(idle)
	pk.Connect = packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: cl.Net.Listener, Clean: true}
	return pk, nil
}

func (conn *connection) checkConnect(pk packets.Packet) byte {
	c := pk.Connect
	switch {
	case string(c.ProtocolName) != "MQTT" || pk.ProtocolVersion != 4:
		what := fmt.Sprintf("speaks %.20q version %d, not MQTT 3.1.1", c.ProtocolName, pk.ProtocolVersion)
		_ = conn.endpoint.violation(refuseProtocol, conn, what)
		return refusedVersion
	case pk.ReservedBit != 0, c.WillQos > 2, !c.WillFlag && (c.WillRetain || c.WillQos > 0),
		c.PasswordFlag && !c.UsernameFlag:
		_ = conn.endpoint.violation(refuseMQTT, conn, "sent a CONNECT whose flags contradict each other")
		return unanswered
	}
	r := connectRequest{
		clientID: c.ClientIdentifier, username: string(c.Username), password: string(c.Password), clean: c.Clean,
	}
	if c.WillFlag {
		r.will = &publication{topic: c.WillTopic, payload: c.WillPayload, qos: c.WillQos, retain: c.WillRetain}
	}
	return conn.endpoint.connect(conn, r)
}
