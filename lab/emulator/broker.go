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

// This file is the only one that knows the broker. mochi reads and writes the packets and answers what needs no thought
// (PUBACK, SUBACK, PINGRESP). Sessions, subscriptions, in-flight messages, wills, deadlines and every rule are the
// endpoints': each CONNECT is handed to mochi under a name of its own, without will or keep-alive and as a clean session, so
// that mochi remembers nothing, takes nothing over and sends nothing on its own.

// maximumPacket lets any topic and 256 KB pass; the endpoints are more exact. mochi would allocate 256 MB for a header.
const maximumPacket = 256<<10 + 1<<16 + 64

// A link is one client's connection as the endpoints see it.
type link struct {
	*wire
	to      endpoint
	number  int
	client  *mqtt.Client
	present bool        // what CONNACK says about the session; set by the endpoint's connect
	greeted bool        // CONNECT was accepted
	parted  atomic.Bool // DISCONNECT came
	suback  subackFault // what is wrong with the SUBACK of the packet that is being read
	mute    bool        // the broker must not acknowledge the packet that is being read

	welcomed bool // CONNACK is written; guarded by the cloud's lock, as is
	refused  bool // it has been told that this connection got no further

	sending sync.Mutex
	open    bool          // CONNACK is written
	backlog []publication // what came up before that
}

func newLink(raw net.Conn, config *tls.Config, to endpoint, number int) *link {
	return &link{wire: newWire(raw, config), to: to, number: number}
}

// send publishes to this client and to no other. It does not block, and before CONNACK it keeps the message back.
func (l *link) send(p publication) {
	l.sending.Lock()
	defer l.sending.Unlock()
	if !l.open {
		l.backlog = append(l.backlog, p)
		return
	}
	l.write(p)
}

func (l *link) write(p publication) {
	_ = l.client.WritePacket(packets.Packet{ // an error means that the connection has ended, which its reader notices
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

// template exists because mochi's New starts tickers that nothing can stop: here they belong to no bubble and, since
// Serve is never called and nobody waits for them, cost nothing. It is only ever copied.
var template = newTemplate()

func newTemplate() *mqtt.Server {
	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.MaximumPacketSize = maximumPacket
	capabilities.MaximumClientWritesPending = 1 // mochi's own queue is never used
	capabilities.MaximumQos = 1
	capabilities.RetainAvailable = 0
	server := mqtt.New(&mqtt.Options{
		Capabilities:           capabilities,
		Logger:                 slog.New(slog.DiscardHandler),
		SysTopicResendInterval: 3600,
	})
	if err := server.AddHook(new(hook), nil); err != nil {
		panic(err) // a mistake in this file
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

// serve reads the client's packets until the connection ends, and says why it did.
func (b *broker) serve(l *link) string {
	name := strconv.FormatInt(b.names.Add(1), 10) // mochi keeps it as the listener's; connect makes it the client's
	err := b.server.EstablishConnection(name, l)
	l.mu.Lock()
	failure, ended := l.failure, l.departed
	l.mu.Unlock()
	var timeout net.Error
	switch {
	case l.parted.Load():
		return "DISCONNECT"
	case errors.Is(err, packets.ErrRejectPacket):
		return "closed by the service"
	case errors.As(failure, &timeout) && timeout.Timeout() && !l.greeted:
		return fmt.Sprintf("no CONNECT within %v", connectTimeout)
	case errors.As(failure, &timeout) && timeout.Timeout():
		return "silent for 1.5 times its keep-alive"
	case failure != nil:
		return failure.Error()
	case err != nil && !ended && !errors.Is(err, net.ErrClosed):
		_ = l.to.breach(l, "sent what MQTT 3.1.1 does not allow: "+err.Error())
	}
	return "closed by the service"
}

// The hook stands between mochi's reader and its own ideas: it sees each packet first.
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

// OnPublish keeps mochi from passing a message on to subscribers.
func (*hook) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	return pk, packets.CodeSuccessIgnore
}

func (*hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		pk.SessionPresent = pk.ReasonCode == accepted && cl.Net.Conn.(*link).present
	case packets.Suback:
		pk.ReasonCodes = cl.Net.Conn.(*link).suback.of(pk.ReasonCodes)
	}
	return pk
}

func (*hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	l := cl.Net.Conn.(*link)
	l.to.welcome(l)
	l.sending.Lock()
	defer l.sending.Unlock()
	l.open = true
	for _, p := range l.backlog {
		l.write(p)
	}
	l.backlog = nil
}

func (*hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	if err == nil && pk.FixedHeader.Type == packets.Subscribe {
		l := cl.Net.Conn.(*link)
		l.to.subscribed(l)
	}
}

// OnPacketRead is called for every packet before mochi acts on it. ErrRejectPacket makes mochi close the connection.
func (*hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	l := cl.Net.Conn.(*link)
	if !l.greeted {
		return l.connect(cl, pk)
	}
	if l.take(&pk) != nil {
		return pk, packets.ErrRejectPacket
	}
	if l.mute {
		pk.FixedHeader.Qos, pk.PacketID, l.mute = 0, 0, false
	}
	return pk, nil
}

// puback acknowledges what the broker did not.
func (l *link) puback(id uint16) {
	_ = l.client.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id})
}

func (l *link) take(pk *packets.Packet) error {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return l.takePublish(pk)
	case packets.Subscribe:
		filters := make([]subscription, len(pk.Filters))
		for i := range pk.Filters {
			pk.Filters[i].Qos = min(pk.Filters[i].Qos, 1)
			filters[i] = subscription{pk.Filters[i].Filter, pk.Filters[i].Qos}
		}
		return l.to.subscribe(l, filters)
	case packets.Unsubscribe:
		filters := make([]string, len(pk.Filters))
		for i := range pk.Filters {
			filters[i] = pk.Filters[i].Filter
		}
		return l.to.unsubscribe(l, filters)
	case packets.Puback:
		l.to.acknowledged(l, pk.PacketID)
	case packets.Disconnect:
		l.parted.Store(true)
	case packets.Pingreq:
	default:
		return l.to.breach(l, fmt.Sprintf("sent a packet of type %d, which has no place here", pk.FixedHeader.Type))
	}
	return nil
}

func (l *link) takePublish(pk *packets.Packet) error {
	switch {
	case pk.FixedHeader.Qos > 0 && pk.PacketID == 0:
		return l.to.breach(l, "published without a packet identifier")
	case pk.TopicName == "" || strings.ContainsAny(pk.TopicName, "+#"):
		return l.to.breach(l, fmt.Sprintf("published to %.100q, which is no topic name", pk.TopicName))
	}
	return l.to.publish(l, publication{
		topic: pk.TopicName, payload: pk.Payload, qos: pk.FixedHeader.Qos, id: pk.PacketID,
		retain: pk.FixedHeader.Retain, resent: pk.FixedHeader.Dup,
	})
}

// connect judges CONNECT. A refusal writes its CONNACK here, since mochi closes without one.
func (l *link) connect(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	l.client = cl
	code := l.judge(pk)
	if code != accepted {
		if code != unanswered {
			_ = cl.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}, ReasonCode: code})
		}
		return pk, packets.ErrRejectPacket
	}
	l.greeted = true
	idle := time.Duration(pk.Connect.Keepalive) * time.Second * 3 / 2
	if idle == 0 || idle > maximumIdle {
		idle = maximumIdle
	}
	l.keepAlive(idle)
	pk.Connect = packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: cl.Net.Listener, Clean: true}
	return pk, nil
}

func (l *link) judge(pk packets.Packet) byte {
	c := pk.Connect
	switch {
	case string(c.ProtocolName) != "MQTT" || pk.ProtocolVersion != 4:
		_ = l.to.breach(l, fmt.Sprintf("speaks %.20q version %d, not MQTT 3.1.1", c.ProtocolName, pk.ProtocolVersion))
		return refusedVersion
	case pk.ReservedBit != 0, c.WillQos > 2, !c.WillFlag && (c.WillRetain || c.WillQos > 0), c.PasswordFlag && !c.UsernameFlag:
		_ = l.to.breach(l, "sent a CONNECT whose flags contradict each other")
		return unanswered
	}
	r := connectRequest{
		clientID: c.ClientIdentifier, username: string(c.Username), password: string(c.Password), clean: c.Clean,
	}
	if c.WillFlag {
		r.will = &publication{topic: c.WillTopic, payload: c.WillPayload, qos: c.WillQos, retain: c.WillRetain}
	}
	return l.to.connect(l, r)
}
