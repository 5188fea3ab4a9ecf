package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/statefile"
)

// A record is the payload of a frame. A frame begins with the length of the payload, a checksum, and
// how many bytes of the file were safe when the frame was written, each in four bytes, little-endian.
// The checksum also covers the name of the file, so that a record from another file is not mistaken for
// one of this file. Lengths and numbers in a payload are varints.
const (
	frameHead  = 12
	frameLimit = 1 << 20 // maximum bytes of a payload, four times the largest reading; a longer one is damage
)

// The kinds of records.
const (
	kindHeader  = 'h' // the first record of each segment
	kindReading = 'r'
	kindRemoved = 's' // numbers whose readings are not kept any more, such as acknowledged ones
	kindDropped = 'd' // numbers of dropped readings, with the reason
	kindNamed   = 't' // a notice that acknowledged readings have named
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(name string, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, rest)
}

// appendFrame appends a frame to b. The function payload appends the payload of the frame.
func appendFrame(b []byte, name string, safe int64, payload func([]byte) []byte) []byte {
	start := len(b)
	b = payload(append(b, make([]byte, frameHead)...))
	frame := b[start:]
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-frameHead))
	binary.LittleEndian.PutUint32(frame[8:], uint32(safe))
	binary.LittleEndian.PutUint32(frame[4:], checksum(name, frame[8:]))
	return b
}

// frameAt returns the payload of the frame at the beginning of b, the number of safe bytes that the
// frame states, and the length of the frame. The payload is nil if b does not begin with a whole frame.
func frameAt(b []byte, name string) (payload []byte, safe int64, size int) {
	if len(b) < frameHead+1 {
		return nil, 0, 0
	}
	length := binary.LittleEndian.Uint32(b)
	if length == 0 || length > frameLimit || int(length) > len(b)-frameHead {
		return nil, 0, 0
	}
	size = frameHead + int(length)
	if checksum(name, b[8:size]) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, 0, 0
	}
	return b[frameHead:size], int64(binary.LittleEndian.Uint32(b[8:])), size
}

var errShort = errors.New("a record ends too soon")

// A parser reads values from the payload of a record. After an error it returns only zero values.
type parser struct {
	b   []byte
	err error
}

func (r *parser) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.b, r.err = nil, errShort
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *parser) text() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.b, r.err = nil, errShort
		return nil
	}
	text := r.b[:n]
	r.b = r.b[n:]
	return text
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendID(b []byte, id ID) []byte {
	return binary.AppendUvarint(appendText(b, id.Epoch), id.N)
}

func (r *parser) id() ID { return ID{string(r.text()), r.number()} }

// The fields of a reading, each with its length, so that later versions can add more.
const (
	fieldBody      = 1
	fieldTaken     = 2
	fieldEarly     = 3 // the uptime, if the wall clock had not been set
	fieldComponent = 4
	fieldProperty  = 5 // a name and a value, each with its length
	fieldUptime    = 6
)

// appendReading appends a reading, with the time at which it was put.
func appendReading(b []byte, r Reading, put time.Time) []byte {
	b = appendID(append(b, kindReading), r.ID)
	b = binary.AppendUvarint(b, uint64(max(0, put.Unix())))
	b = appendText(append(b, fieldBody), r.Body)
	taken, _ := r.Taken.UTC().AppendBinary(make([]byte, 0, 16)) // fails only for some time zones, and not for UTC
	b = appendText(append(b, fieldTaken), taken)
	if r.Stamp.Uptime != 0 {
		uptime := binary.AppendVarint(make([]byte, 0, binary.MaxVarintLen64), int64(r.Stamp.Uptime))
		if r.Stamp.BeforeClockWasSet {
			b = appendText(append(b, fieldEarly), uptime)
		}
		b = appendText(append(b, fieldUptime), uptime)
	}
	if r.Component != "" {
		b = appendText(append(b, fieldComponent), r.Component)
	}
	for _, name := range r.PropertyNames() {
		property := appendText(appendText(nil, name), r.Properties[name])
		b = appendText(append(b, fieldProperty), property)
	}
	return b
}

// parseReading parses what appendReading has appended after the kind. The body of r shares the memory of payload.
func parseReading(payload []byte) (r Reading, put time.Time, err error) {
	p := &parser{b: payload}
	r.ID, put = p.id(), time.Unix(int64(p.number()), 0)
	for len(p.b) > 0 && p.err == nil {
		field := p.b[0]
		p.b = p.b[1:]
		if err := r.setField(field, p.text()); err != nil {
			return r, put, err
		}
	}
	return r, put, p.err
}

func (r *Reading) setField(field byte, value []byte) error {
	switch field {
	case fieldBody:
		r.Body = slices.Clip(value)
	case fieldTaken:
		return r.Taken.UnmarshalBinary(value)
	case fieldEarly, fieldUptime:
		d, size := binary.Varint(value)
		if size <= 0 {
			return errShort
		}
		r.Stamp.Uptime = max(r.Stamp.Uptime, time.Duration(d)) // an early version wrote only fieldEarly
		r.Stamp.BeforeClockWasSet = r.Stamp.BeforeClockWasSet || field == fieldEarly && d > 0
	case fieldComponent:
		r.Component = string(value)
	case fieldProperty:
		p := &parser{b: value}
		name := string(p.text())
		if r.Properties == nil {
			r.Properties = map[string]string{}
		}
		r.Properties[name] = string(p.text())
		return p.err
	}
	return nil
}

func appendRanges(b []byte, s ranges) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	for _, r := range s {
		b = binary.AppendUvarint(b, r.First)
		b = binary.AppendUvarint(b, r.Last-r.First)
	}
	return b
}

func (r *parser) ranges() (s ranges) {
	for n := r.number(); n > 0 && r.err == nil; n-- {
		first := r.number()
		if x := (Range{first, first + r.number()}); x.Last >= x.First && x.Last <= maxNumber && r.err == nil {
			s.add(x)
		}
	}
	return s
}

func appendNotice(b []byte, n notice) []byte { return appendRanges(appendID(b, n.previous), n.missing) }

func (r *parser) notice() notice { return notice{r.id(), r.ranges()} }

// A header is the first record of a segment. It repeats what older segments record, because those may be removed.
type header struct {
	epoch    string
	previous ID                // last ID of the previous epoch
	unnamed  notice            // notice that no acknowledged reading had named when the segment began
	last     uint64            // newest number when the segment began
	others   map[uint64]extent // extents of the older segments, by the number of the segment
	dropped  history
}

// An extent says how much a segment holds. The header of a later segment records it.
type extent struct {
	size       int64  // bytes of the file that belong to the log
	first, end uint64 // the readings have numbers from first to end-1
}

const version = 3

func appendHeader(b []byte, h header) []byte {
	b = append(b, kindHeader, version)
	b = appendText(b, h.epoch)
	b = appendNotice(appendID(b, h.previous), h.unnamed)
	b = binary.AppendUvarint(b, h.last)
	b = binary.AppendUvarint(b, uint64(len(h.others)))
	for _, number := range slices.Sorted(maps.Keys(h.others)) {
		x := h.others[number]
		b = binary.AppendUvarint(binary.AppendUvarint(b, number), uint64(x.size))
		b = binary.AppendUvarint(binary.AppendUvarint(b, x.first), x.end-x.first)
	}
	for _, why := range h.dropped.known.reasons() { // a reason with a tally has ranges, too
		b = appendRanges(appendText(b, string(why)), h.dropped.known[why])
		t := h.dropped.before[why]
		b = binary.AppendUvarint(binary.AppendUvarint(b, t.count), t.highest)
	}
	return b
}

// checkVersion returns a *statefile.VersionError if another version of failover has written a record
// whose checksum is right.
func checkVersion(name string, payload []byte) error {
	kind, rest := payload[0], payload[1:]
	switch kind {
	case kindReading, kindRemoved, kindDropped, kindNamed:
	case kindHeader:
		if len(rest) > 0 && rest[0] != version {
			return &statefile.VersionError{Path: name, Format: int(rest[0]), Known: version}
		}
	default:
		detail := fmt.Sprintf("it has a record of the kind %q, which this version does not know", kind)
		return &statefile.VersionError{Path: name, Detail: detail}
	}
	return nil
}

func parseHeader(payload []byte) (h header, err error) {
	if len(payload) == 0 {
		return h, errShort
	}
	p := &parser{b: payload[1:]}
	h.epoch = string(p.text())
	h.previous, h.unnamed = p.id(), p.notice()
	h.last, h.others = p.number(), map[uint64]extent{}
	for n := p.number(); n > 0 && p.err == nil; n-- {
		number, x := p.number(), extent{int64(p.number()), p.number(), 0}
		x.end = x.first + p.number()
		h.others[number] = x
	}
	for len(p.b) > 0 && p.err == nil {
		why := Reason(p.text())
		h.dropped.known.add(why, p.ranges()...)
		if t := (tally{p.number(), p.number()}); t.count > 0 {
			settings.Default(&h.dropped.before, map[Reason]tally{})
			h.dropped.before[why] = t
		}
	}
	return h, p.err
}
