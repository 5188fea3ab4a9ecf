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
// goroutine of its own, at a SUBACK with too many codes and at an answer to a packet whose write fails just then, and takes an
// unknown CONNACK code for a welcome. What else is malformed it notices itself.
type frames struct {
	host    string
	in      *bufio.Reader
	rest    []byte // of the last packet, what paho has not read yet
	greeted bool   // CONNACK has come
	secrets mask

	mu      sync.Mutex
	left    *sync.Cond     // leaving has changed
	leaving uint16         // the packet that is being written, if it wants an answer; else 0
	asked   map[uint16]int // what was written, or is being, and has no answer: its number of filters to subscribe to
}

func newFrames(host string, in io.Reader, secrets mask) *frames {
	f := &frames{host: host, in: bufio.NewReaderSize(in, 512), secrets: secrets, asked: map[uint16]int{}}
	f.left = sync.NewCond(&f.mu)
	return f
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
		filters, asked := f.answered(binary.BigEndian.Uint16(body))
		if kind == packets.Suback && filters != len(body)-2 {
			return false, f.bad(ProtocolBroken, "a SUBACK with %d codes for %d filters", len(body)-2, filters)
		}
		return asked, nil
	}
	return true, nil
}

// answered looks up what an answer is for. One that comes early waits until its packet has been written, or is for nothing
// when that has failed.
func (f *frames) answered(id uint16) (filters int, asked bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id != 0 && f.leaving == id {
		f.left.Wait()
	}
	filters, asked = f.asked[id]
	delete(f.asked, id)
	return filters, asked
}

// sending sees each packet before it is written.
func (f *frames) sending(packet []byte) {
	id, filters := question(packet)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaving = id
	if id != 0 {
		f.asked[id] = filters
	}
}

// sent learns how writing the packet went.
func (f *frames) sent(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		delete(f.asked, f.leaving)
	}
	f.leaving = 0
	f.left.Broadcast()
}

// question is the number of a packet that wants an answer, or 0, and how many filters it subscribes to.
func question(packet []byte) (id uint16, filters int) {
	_, n := binary.Uvarint(packet[1:]) // MQTT writes lengths as Go does
	rest, number := packet[1+n:], binary.BigEndian.Uint16
	switch packet[0] >> 4 {
	case packets.Publish:
		if atLeastOnce := packet[0]&0x06 != 0; atLeastOnce {
			id = number(rest[2+int(number(rest)):])
		}
	case packets.Unsubscribe:
		id = number(rest)
	case packets.Subscribe:
		id = number(rest)
		for rest = rest[2:]; len(rest) > 2; filters++ {
			rest = rest[2+int(number(rest))+1:]
		}
	}
	return id, filters
}

func (f *frames) bad(reason Reason, format string, args ...any) error {
	return &Error{Reason: reason, Host: f.host, Err: fmt.Errorf(format, args...)}
}
