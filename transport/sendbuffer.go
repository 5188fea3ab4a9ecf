package transport

import (
	"encoding/binary"
	"runtime"
	"sync"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// recordSize is how many bytes of packets the buffer holds before paho has to wait, unless a single
// packet is larger. The packets become one TLS record. A peer can read no part of a record before
// all of it has come, which looks like silence on a slow network.
const recordSize = 4 << 10

// largeLimit is how many large packets are remembered as in flight: at QoS 0 it may take long until an
// answer shows that they have arrived.
const largeLimit = 64

// A sendBuffer holds the packets that paho has written until they are written to the network.
// Packets added during a write leave with the next write, because a TLS record and a system call
// are most of the cost of a small packet. A sendBuffer also knows which packets expect an answer:
// an answer to a packet that is still in the buffer waits until the packet has been written, and an
// answer to a packet that is never written does not count.
type sendBuffer struct {
	mu                      sync.Mutex
	changed                 *sync.Cond
	buffer                  []byte
	added, written, arrived int64   // total bytes so far; arrived counts what the peer has read, as answers show
	pings                   []int64 // for each ping without an answer, the value of added after the ping
	large                   []span  // positions of the packets above recordSize that may not have arrived
	ended                   bool
	asked                   map[uint16]question // packets that expect an answer, by packet identifier
}

// A span is the position of a packet in the sequence of all bytes added.
type span struct{ begin, end int64 }

// A question is a packet that expects an answer.
type question struct {
	ack     byte  // type of the packet that acknowledges a PUBLISH; zero means that the packet is no PUBLISH
	filters int   // number of filters in a SUBSCRIBE
	end     int64 // value of added after the packet
}

func newSendBuffer() *sendBuffer {
	b := &sendBuffer{asked: map[uint16]question{}}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// add waits until the buffer has room, and adds a packet. It returns false when the connection has
// ended.
func (b *sendBuffer) add(packet []byte) bool {
	id, q := parse(packet)
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.ended && len(b.buffer) > 0 && len(b.buffer)+len(packet) > recordSize {
		b.changed.Wait()
	}
	if b.ended {
		return false
	}
	b.buffer = append(b.buffer, packet...)
	b.added += int64(len(packet))
	if id != 0 {
		q.end = b.added
		b.asked[id] = q
	}
	if packet[0]>>4 == packets.Pingreq {
		b.pings = append(b.pings, b.added)
	}
	if len(packet) > recordSize {
		b.large = append(b.large, span{b.added - int64(len(packet)), b.added})
		b.large = b.large[max(0, len(b.large)-largeLimit):]
	}
	b.changed.Broadcast()
	return true
}

// take waits for packets and returns all of them. It returns nil when the connection has ended.
// last is the result of the previous call; the caller must not use it any more, because take reuses
// its memory.
func (b *sendBuffer) take(last []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.ended && len(b.buffer) == 0 {
		b.changed.Wait()
	}
	if b.ended {
		return nil
	}
	b.mu.Unlock()
	runtime.Gosched() // lets other goroutines add packets that then leave in this batch
	b.mu.Lock()
	batch := b.buffer
	b.buffer = nil
	if cap(last) <= 2*recordSize { // the memory of a large packet is not kept
		b.buffer = last[:0]
	}
	b.changed.Broadcast() // there is room while the batch is being written
	return batch
}

// wrote notes that n more bytes have been written to the network.
func (b *sendBuffer) wrote(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.written += int64(n)
	b.changed.Broadcast()
}

// flush waits until all that was added before the call has been written, or the connection has ended.
// It reports whether all was written.
func (b *sendBuffer) flush() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	end := b.added
	for !b.ended && b.written < end {
		b.changed.Wait()
	}
	return b.written >= end
}

func (b *sendBuffer) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

// answered returns the question that an answer is for, and waits until the packet of the question
// has been written. asked is false if no packet expects this answer, or if the connection ended
// before the packet was written. A message is answered by one type of packet only: paho would
// accept another type, and reuse the identifier although the true answer has not come yet.
func (b *sendBuffer) answered(id uint16, kind byte) (q question, asked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, asked = b.asked[id]
	if q.ack != 0 && q.ack != kind {
		return question{}, false
	}
	for asked && !b.ended && b.written < q.end {
		b.changed.Wait()
	}
	delete(b.asked, id)
	if asked = asked && b.written >= q.end; asked {
		b.arrive(q.end)
	}
	return q, asked
}

// pingAnswered notes the answer to the oldest ping.
func (b *sendBuffer) pingAnswered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pings) > 0 {
		b.arrive(b.pings[0])
		b.pings = b.pings[1:]
	}
}

// arrive notes that the peer has read everything up to end. The caller holds the lock.
func (b *sendBuffer) arrive(end int64) {
	b.arrived = max(b.arrived, end)
	for len(b.large) > 0 && b.large[0].end <= b.arrived {
		b.large = b.large[1:]
	}
}

// inFlight returns the number of added bytes whose arrival no answer has shown yet, and by how many
// bytes the large packets among them exceed recordSize.
func (b *sendBuffer) inFlight() (all, excess int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.large {
		excess += s.end - s.begin - recordSize
	}
	return b.added - b.arrived, excess
}

// parse returns the identifier of a packet that expects an answer, and its question. For any other
// packet the identifier is 0.
func parse(packet []byte) (id uint16, q question) {
	_, n := binary.Uvarint(packet[1:]) // MQTT encodes lengths as Go does
	rest, number := packet[1+n:], binary.BigEndian.Uint16
	switch packet[0] >> 4 {
	case packets.Publish:
		switch packet[0] >> 1 & 3 { // QoS
		case 0:
			return 0, q
		case 1:
			q.ack = packets.Puback
		default:
			q.ack = packets.Pubcomp
		}
		id = number(rest[2+int(number(rest)):])
	case packets.Unsubscribe:
		id = number(rest)
	case packets.Subscribe:
		id = number(rest)
		for rest = rest[2:]; len(rest) > 2; q.filters++ {
			rest = rest[2+int(number(rest))+1:]
		}
	}
	return id, q
}
