package outbox

// A scan is what stands in a segment's file, but for its readings, which the segment itself has taken in.
type scan struct {
	segment  *segment
	header   *header
	epoch    string
	outcomes outcomes
	end      int64 // of the last whole record
	rest     int64 // bytes behind it that were being written, as far as anyone knows
	records  int
	holes    []hole
	other    error // *statefile.VersionError: another version of failover has written the file
}

// A hole is bytes that were safe and make no record. It lies between two readings; 0 means that there
// is none on that side.
type hole struct{ after, before uint64 }

// scan reads what can be read. end is how many bytes count, as a later segment says; a negative end
// means that this is not known. Then those bytes are safe that a record behind them says were; of the
// rest, which was being written when the power failed, as much counts as is in one piece.
func (s *segment) scan(b []byte, end int64) (found scan) {
	found.segment = s
	safe := end
	if end >= 0 {
		b = b[:min(end, int64(len(b)))]
	} else {
		safe = safeBytes(s.name, b)
	}
	whole := true
	for pos := 0; pos < len(b); {
		payload, _, size := frameAt(b[pos:], s.name)
		if payload != nil {
			if found.other = checkVersion(s.name, payload); found.other != nil {
				return found
			}
		}
		if payload == nil || !found.take(payload, uint32(pos), uint32(size)) {
			if int64(pos) >= safe {
				break
			}
			if whole {
				found.addHole()
			}
			whole = false
			pos++
			continue
		}
		whole = true
		pos += size
		found.end = int64(pos)
		found.records++
	}
	if whole && found.end < end {
		found.addHole()
	}
	return found
}

// addHole notes a hole behind the last reading so far.
func (f *scan) addHole() {
	h, s := hole{}, f.segment
	if len(s.places) > 0 {
		h.after = s.end() - 1
	}
	if last := len(f.holes) - 1; last < 0 || f.holes[last] != h {
		f.holes = append(f.holes, h)
	}
}

// safeBytes is how many bytes the records themselves say were safe.
func safeBytes(name string, b []byte) (safe int64) {
	for pos := 0; pos < len(b); {
		payload, before, size := frameAt(b[pos:], name)
		if payload == nil {
			size = 1
		} else if before <= int64(pos) {
			safe = max(safe, before)
		}
		pos += size
	}
	return safe
}

// take takes in one record. It returns false if the payload is none.
func (f *scan) take(payload []byte, offset, size uint32) bool {
	r, s := &parser{b: payload[1:]}, f.segment
	var found outcomes
	switch payload[0] {
	case kindHeader:
		h, err := parseHeader(payload[1:])
		if err != nil || f.header != nil {
			return false
		}
		f.header, f.epoch = &h, h.epoch
	case kindReading: // the rest of it is read, and checked again, when it is handed out
		epoch, n, put := r.text(), r.number(), r.number()
		if r.err != nil || f.epoch != "" && string(epoch) != f.epoch || !s.follows(n) {
			return false
		}
		if f.epoch == "" {
			f.epoch = string(epoch)
		}
		s.add(n, place{offset, size, uint32(min(put, 1<<32-1))})
		if last := len(f.holes) - 1; last >= 0 && f.holes[last].before == 0 {
			f.holes[last].before = n
		}
	case kindRemoved:
		found.removed = r.ranges()
	case kindDropped:
		found.dropped.add(Reason(r.text()), r.ranges()...)
	case kindNamed:
		found.named = r.notice()
	default:
		return false
	}
	if r.err == nil {
		f.outcomes.add(found)
	}
	return r.err == nil
}

// How far a number may lie behind the one before it in the same segment: when it is written, and when
// it is read and damage may lie between.
const (
	maxGap  = 4096
	maxHole = 1 << 16
)

// follows reports whether a reading's number may come next.
func (s *segment) follows(n uint64) bool {
	return n > 0 && (len(s.places) == 0 || n >= s.end() && n-s.end() < maxHole)
}
