package transport

import (
	"encoding/binary"
	"runtime"
	"sync"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// gathered is how many bytes of packets wait for the connection before paho has to, unless a single packet is larger. They are
// one TLS record, of which a peer can read nothing before it has all: on a slow link that is silence.
const gathered = 4 << 10

// largeLimit is how many large packets are remembered until they have arrived: at QoS 0 nothing may say so for long.
const largeLimit = 64

// outgoing is the packets on their way from paho to the connection. What comes while others are being written leaves together,
// for a TLS record and a system call of its own is most of what a small packet costs. It knows which packets want an answer:
// one to a packet that has not left yet waits, and one to a packet that never will is none.
type outgoing struct {
	mu       sync.Mutex
	changed  *sync.Cond
	waiting  []byte
	put, out int64   // bytes so far: that have come, and that have left
	arrived  int64   // bytes so far that an answer shows to have arrived
	pings    []int64 // where each ping without an answer ends among all bytes
	large    []int64 // where each packet larger than gathered that may not have arrived begins and ends, in turn
	ended    bool
	asked    map[uint16]question // what has no answer yet
}

// A question is a packet that wants an answer.
type question struct {
	receipt byte  // the kind of packet that acknowledges it, if it is a message
	filters int   // to subscribe to
	end     int64 // where it ends among all bytes
}

func newOutgoing() *outgoing {
	o := &outgoing{asked: map[uint16]question{}}
	o.changed = sync.NewCond(&o.mu)
	return o
}

// add takes a packet, or says that the link has ended.
func (o *outgoing) add(packet []byte) bool {
	id, q := ask(packet)
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.ended && len(o.waiting) > 0 && len(o.waiting)+len(packet) > gathered {
		o.changed.Wait()
	}
	if o.ended {
		return false
	}
	o.waiting = append(o.waiting, packet...)
	o.put += int64(len(packet))
	if id != 0 {
		q.end = o.put
		o.asked[id] = q
	}
	if packet[0]>>4 == packets.Pingreq {
		o.pings = append(o.pings, o.put)
	}
	if len(packet) > gathered {
		o.large = append(o.large, o.put-int64(len(packet)), o.put)
		o.large = o.large[max(0, len(o.large)-2*largeLimit):]
	}
	o.changed.Broadcast()
	return true
}

// take waits for packets; there are none when the link has ended. What it was given before may be used again.
func (o *outgoing) take(before []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.ended && len(o.waiting) == 0 {
		o.changed.Wait()
	}
	if o.ended {
		return nil
	}
	o.mu.Unlock()
	runtime.Gosched() // who is about to add a packet does so first, and it leaves with the others
	o.mu.Lock()
	batch := o.waiting
	o.waiting = nil
	if cap(before) <= 2*gathered { // a large one must not stay for ever
		o.waiting = before[:0]
	}
	o.changed.Broadcast() // there is room while this is being written
	return batch
}

// left learns that so many bytes more have been written.
func (o *outgoing) left(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.out += int64(n)
	o.changed.Broadcast()
}

// drain waits until all that has come so far has left, or nothing will any more. It tells which.
func (o *outgoing) drain() (left bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := o.put // and not what comes meanwhile, which may go on for ever
	for !o.ended && o.out < end {
		o.changed.Wait()
	}
	return o.out >= end
}

func (o *outgoing) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed.Broadcast()
}

// answered looks up what an answer is for. A message has one kind of answer: paho would take another for it as well, and give
// its number to the next message while its own answer has yet to come.
func (o *outgoing) answered(id uint16, kind byte) (q question, asked bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q, asked = o.asked[id]
	if q.receipt != 0 && q.receipt != kind {
		return question{}, false
	}
	for asked && !o.ended && o.out < q.end {
		o.changed.Wait()
	}
	delete(o.asked, id)
	if asked = asked && o.out >= q.end; asked {
		o.arrive(q.end)
	}
	return q, asked
}

// ponged learns that the oldest ping has been answered.
func (o *outgoing) ponged() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.pings) > 0 {
		o.arrive(o.pings[0])
		o.pings = o.pings[1:]
	}
}

// arrive learns that the peer has everything up to there.
func (o *outgoing) arrive(end int64) {
	o.arrived = max(o.arrived, end)
	for len(o.large) > 0 && o.large[1] <= o.arrived {
		o.large = o.large[2:]
	}
}

// onWay is how many bytes have been handed over of which no answer shows that they have arrived, and how many of those are
// what large packets have beyond gathered.
func (o *outgoing) onWay() (all, large int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := 0; i < len(o.large); i += 2 {
		large += o.large[i+1] - o.large[i] - gathered
	}
	return o.put - o.arrived, large
}

// ask is the number of a packet that wants an answer, or 0, and what it asks.
func ask(packet []byte) (id uint16, q question) {
	_, n := binary.Uvarint(packet[1:]) // MQTT writes lengths as Go does
	rest, number := packet[1+n:], binary.BigEndian.Uint16
	switch packet[0] >> 4 {
	case packets.Publish:
		switch qos := packet[0] >> 1 & 3; qos {
		case 0:
			return 0, q
		case 1:
			q.receipt = packets.Puback
		default:
			q.receipt = packets.Pubcomp
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
