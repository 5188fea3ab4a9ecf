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

// largestPacket is far more than DPS or a hub sends. paho allocates whatever length a header names.
const largestPacket = 1 << 20

// frames hands paho one whole packet after the other and stops those with which a peer could harm it: paho panics, on a
// goroutine of its own, at a SUBACK with too many codes and at an answer to a packet whose write fails just then, and takes an
// unknown CONNACK code for a welcome. What else is malformed it notices itself.
type frames struct {
	host     string
	in       *bufio.Reader
	packet   []byte      // the last one
	rest     []byte      // of it, what paho has not read yet
	greeted  bool        // CONNACK has come
	arriving atomic.Bool // part of a packet has come
	secrets  mask
	out      *outgoing
	receipts *receipts
}

func newFrames(host string, in io.Reader, secrets mask, out *outgoing) *frames {
	return &frames{host: host, in: bufio.NewReaderSize(in, 512), secrets: secrets, out: out, receipts: newReceipts()}
}

func (f *frames) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// next reads a packet. What answers nothing it leaves out.
func (f *frames) next() error {
	first, err := f.in.ReadByte()
	if err != nil {
		return err
	}
	packet, length := append(f.packet[:0], first), 0
	for shift, more := 0, true; more; shift += 7 {
		b, err := f.in.ReadByte()
		if err != nil {
			return err
		}
		packet, more = append(packet, b), b >= 0x80
		length |= int(b&0x7f) << shift
		if length > largestPacket || more && shift >= 14 {
			return f.bad(ProtocolBroken, "a packet of more than %d bytes", largestPacket)
		}
	}
	if !f.greeted && (first != packets.Connack<<4 || length != 2) {
		return f.bad(ProtocolBroken, "no CONNACK: %#02x and %d bytes", first, length)
	}
	f.greeted = true
	head := len(packet)
	packet = slices.Grow(packet, length)[:head+length]
	if length < 512 { // a large one is not kept
		f.packet = packet
	}
	f.arriving.Store(length > f.in.Buffered())
	_, err = io.ReadFull(f.in, packet[head:])
	f.arriving.Store(false)
	if err != nil {
		return err
	}
	f.secrets.cover(packet[head:])
	pass, err := f.check(first, packet[head:])
	if pass {
		f.rest = packet
	}
	return err
}

func (f *frames) check(first byte, body []byte) (pass bool, err error) {
	switch kind := first >> 4; kind {
	case packets.Connack:
		if len(body) == 2 && body[1] > packets.ErrRefusedNotAuthorised {
			return false, f.bad(ConnectRejected, "the unknown code %d", body[1])
		}
	case packets.Suback, packets.Unsuback, packets.Puback, packets.Pubcomp:
		if len(body) < 2 {
			break
		}
		q, asked := f.out.answered(binary.BigEndian.Uint16(body), kind)
		if kind == packets.Suback && q.filters != len(body)-2 {
			return false, f.bad(ProtocolBroken, "a SUBACK with %d codes for %d filters", len(body)-2, q.filters)
		}
		if asked && q.receipt == kind {
			f.receipts.came(binary.BigEndian.Uint16(body))
		}
		return asked, nil
	case packets.Pingresp:
		f.out.ponged()
	}
	return true, nil
}

func (f *frames) bad(reason Reason, format string, args ...any) error {
	return &Error{Reason: reason, Host: f.host, Err: fmt.Errorf(format, args...)}
}
