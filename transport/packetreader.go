package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// largestPacket bounds the length of a packet that is accepted. It is far more than DPS or a hub
// sends. paho allocates whatever length a header names, up to 256 MiB.
const largestPacket = 1 << 20

// A packetReader hands whole packets to paho. It refuses packets with which a peer could harm paho,
// drops answers that no sent packet expects, and tells inFlight which messages are acknowledged. paho
// itself notices other malformed packets.
type packetReader struct {
	conn     *connection
	in       *bufio.Reader
	secrets  mask
	packet   []byte      // memory of the last small packet, which the next packet reuses
	rest     []byte      // part of the current packet that paho has not read yet
	greeted  bool        // CONNACK has come
	arriving atomic.Bool // only a part of the current packet has come
}

func (r *packetReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next reads one packet. If the packet is not for paho, rest stays empty.
func (r *packetReader) next() error {
	first, err := r.in.ReadByte()
	if err != nil {
		return err
	}
	packet, length := append(r.packet[:0], first), 0
	for shift, more := 0, true; more; shift += 7 {
		b, err := r.in.ReadByte()
		if err != nil {
			return err
		}
		packet, more = append(packet, b), b >= 0x80
		length |= int(b&0x7f) << shift
		if length > largestPacket || more && shift >= 14 {
			return r.refuse(ProtocolBroken, "a packet of more than %d bytes", largestPacket)
		}
	}
	if !r.greeted && (first != packets.Connack<<4 || length != 2) {
		return r.refuse(ProtocolBroken, "no CONNACK: the first packet is %#02x and %d bytes", first, length)
	}
	r.greeted = true
	head := len(packet)
	packet = slices.Grow(packet, length)[:head+length]
	if length < 512 { // the memory of a large packet is not kept
		r.packet = packet
	}
	body := packet[head:]
	r.arriving.Store(length > r.in.Buffered())
	_, err = io.ReadFull(r.in, body)
	r.arriving.Store(false)
	if err != nil {
		return err
	}
	r.secrets.cover(body)
	forPaho, err := r.check(first>>4, body)
	if forPaho {
		r.rest = packet
	}
	return err
}

// check reports whether a packet is to be passed to paho. It returns an error if the packet must
// end the session.
func (r *packetReader) check(kind byte, body []byte) (forPaho bool, err error) {
	switch kind {
	case packets.Connack:
		if len(body) == 2 && body[1] > packets.ErrRefusedNotAuthorised {
			return false, r.refuse(ConnectRejected, "CONNACK has the unknown code %d", body[1])
		}
	case packets.Suback, packets.Unsuback, packets.Puback, packets.Pubcomp:
		if len(body) < 2 {
			break
		}
		id := binary.BigEndian.Uint16(body)
		q, asked := r.conn.out.answered(id, kind)
		if kind == packets.Suback && q.filters != len(body)-2 {
			return false, r.refuse(ProtocolBroken, "SUBACK has %d codes for %d filters", len(body)-2, q.filters)
		}
		if asked && q.ack == kind {
			r.conn.inFlight.acknowledged(id)
		}
		return asked, nil
	case packets.Pingresp:
		r.conn.out.pingAnswered()
	}
	return true, nil
}

func (r *packetReader) refuse(reason Reason, format string, args ...any) error {
	return &Error{Reason: reason, Host: r.conn.host, Err: fmt.Errorf(format, args...)}
}
