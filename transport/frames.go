package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// largestPacket is far more than DPS or a hub sends. paho allocates whatever length a header names.
const largestPacket = 1 << 20

// frames hands paho one whole packet after the other and stops those with which a peer could harm it: paho panics, on a
// goroutine of its own, at a SUBACK with too many codes, and takes an unknown CONNACK code for a welcome. What else is
// malformed it notices itself.
type frames struct {
	host    string
	in      *bufio.Reader
	rest    []byte // of the last packet, what paho has not read yet
	greeted bool   // CONNACK has come

	mu         sync.Mutex
	subscribed map[uint16]int // the SUBSCRIBEs without an answer, with their number of filters
}

func newFrames(host string, in io.Reader) *frames {
	return &frames{host: host, in: bufio.NewReaderSize(in, 512), subscribed: map[uint16]int{}}
}

func (f *frames) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *frames) next() error {
	first, err := f.in.ReadByte()
	if err != nil {
		return err
	}
	packet, length := append(make([]byte, 0, 64), first), 0
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
	if _, err := io.ReadFull(f.in, packet[head:]); err != nil {
		return err
	}
	if err := f.check(first, packet[head:]); err != nil {
		return err
	}
	f.rest = packet
	return nil
}

func (f *frames) check(first byte, body []byte) error {
	switch kind := first >> 4; {
	case kind == packets.Connack && len(body) == 2 && body[1] > packets.ErrRefusedNotAuthorised:
		return f.bad(ConnectRejected, "the unknown code %d", body[1])
	case kind == packets.Suback && len(body) >= 2:
		id := binary.BigEndian.Uint16(body)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.subscribed[id] != len(body)-2 {
			return f.bad(ProtocolBroken, "a SUBACK with %d codes for %d filters", len(body)-2, f.subscribed[id])
		}
		delete(f.subscribed, id)
	}
	return nil
}

// sending sees each packet before paho's write of it goes out.
func (f *frames) sending(packet []byte) {
	if packet[0]>>4 != packets.Subscribe {
		return
	}
	_, n := binary.Uvarint(packet[1:]) // MQTT writes lengths as Go does
	id, rest, filters := binary.BigEndian.Uint16(packet[1+n:]), packet[1+n+2:], 0
	for ; len(rest) > 2; filters++ {
		rest = rest[2+int(binary.BigEndian.Uint16(rest))+1:]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscribed[id] = filters
}

func (f *frames) bad(reason Reason, format string, args ...any) error {
	return &Error{Reason: reason, Host: f.host, Err: fmt.Errorf(format, args...)}
}
