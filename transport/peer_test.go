package transport_test

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A peer is the other end of one connection: an MQTT server that does what the test says.
type peer struct {
	net.Conn // TLS
	raw      net.Conn
	timeout  time.Duration // between packets, after which a hub ends the connection; zero means none
}

// serve starts an MQTT server that calls script for each connection after its TLS handshake.
func (w *world) serve(script func(p *peer)) { w.Helper(); w.serveAs(good, script) }

func (w *world) serveAs(certificate tls.Certificate, script func(p *peer)) {
	w.Helper()
	w.listen(func(raw net.Conn) {
		conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{certificate}})
		if conn.Handshake() == nil {
			script(&peer{Conn: conn, raw: raw})
		}
	})
}

// next returns the next packet, or nil at the end of the connection.
func (p *peer) next() packets.ControlPacket {
	if p.timeout > 0 {
		p.SetReadDeadline(time.Now().Add(p.timeout))
	}
	packet, err := packets.ReadPacket(p)
	if err != nil {
		return nil
	}
	return packet
}

func (p *peer) send(packet packets.ControlPacket) { _ = packet.Write(p) } // the connection may have ended

// accept accepts CONNECT.
func (p *peer) accept() {
	if c, ok := p.next().(*packets.ConnectPacket); ok {
		p.timeout = time.Duration(c.Keepalive) * time.Second * 3 / 2
		p.send(connack(0))
	}
}

// answer answers a packet as a hub does.
func (p *peer) answer(packet packets.ControlPacket) {
	switch m := packet.(type) {
	case *packets.PublishPacket:
		if m.Qos > 0 {
			p.send(puback(m.MessageID))
		}
	case *packets.SubscribePacket:
		p.send(suback(m.MessageID, m.Qoss...))
	case *packets.UnsubscribePacket:
		a := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
		a.MessageID = m.MessageID
		p.send(a)
	case *packets.PingreqPacket:
		p.send(packets.NewControlPacket(packets.Pingresp))
	}
}

// answerAll answers everything until the end.
func (p *peer) answerAll() {
	for packet := p.next(); packet != nil; packet = p.next() {
		p.answer(packet)
	}
}

// answerNone reads until the end and answers nothing.
func (p *peer) answerNone() {
	for p.next() != nil {
	}
}

// reset ends the connection with RST.
func (p *peer) reset() { reset(p.raw) }

func reset(conn net.Conn) {
	switch c := conn.(type) {
	case interface{ Reset() error }:
		c.Reset()
	case *net.TCPConn:
		c.SetLinger(0)
		c.Close()
	}
}

func connack(code byte) packets.ControlPacket {
	a := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	a.ReturnCode = code
	return a
}

func puback(id uint16) packets.ControlPacket {
	a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
	a.MessageID = id
	return a
}

func suback(id uint16, codes ...byte) packets.ControlPacket {
	a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	a.MessageID, a.ReturnCodes = id, codes
	return a
}

func publish(id uint16, payload string) packets.ControlPacket {
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Payload, m.MessageID = "to/device", []byte(payload), id
	if id > 0 {
		m.Qos = 1
	}
	return m
}

// A log is what a peer has seen. Several goroutines may use it.
type log[T any] struct {
	mu   sync.Mutex
	seen []T
}

func (l *log[T]) add(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, v)
}

func (l *log[T]) all() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]T(nil), l.seen...)
}
