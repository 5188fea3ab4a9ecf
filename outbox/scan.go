package outbox

// A scan is what was found in a segment's file, except the readings, whose places are in the segment itself.
type scan struct {
	segment  *segment
	header   *header
	epoch    string
	outcomes outcomes
	end      int64 // end of the last whole record, as an offset in the file
	rest     int64 // number of bytes after end; as far as is known, they were being written
	records  int
	holes    []hole
	other    error // *statefile.VersionError: another version of failover has written the file
}

// A hole is a run of bytes that were safe and are not a record any more. It lies between the readings
// with the numbers after and before; 0 means that there is no reading on that side.
type hole struct{ after, before uint64 }

// scan reads all records in b that can be read. end is the number of bytes that belong to the log, as
// the header of a later segment records it. A negative end means that this number is not known. Then
// the records themselves say how many bytes were safe. The bytes after those were being written when the
// power failed; scan uses them up to the first one that is not part of a record.
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

// addHole adds a hole after the last reading that was found so far.
func (f *scan) addHole() {
	h, s := hole{}, f.segment
	if len(s.places) > 0 {
		h.after = s.end() - 1
	}
	if last := len(f.holes) - 1; last < 0 || f.holes[last] != h {
		f.holes = append(f.holes, h)
	}
}

// safeBytes returns how many bytes were safe according to the records in b.
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

// take adds one record to the scan. It returns false if the payload is not a valid record.
func (f *scan) take(payload []byte, offset, size uint32) bool {
	r, s := &parser{b: payload[1:]}, f.segment
	var found outcomes
	switch payload[0] {
	case kindHeader:
		h, err := parseHeader(payload[1:])
		if err != nil || f.header != nil || h.last > maxNumber {
			return false
		}
		f.header, f.epoch = &h, h.epoch
	case kindReading: // the rest of the reading is parsed, and its checksum checked again, when it is read
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

// Limits of the distance between the numbers of two consecutive readings in a segment.
const (
	maxGap  = 4096    // when the segment is written
	maxHole = 1 << 16 // when it is read, because damage may have removed readings between the two
)

// maxNumber is higher than every number that a log gives out. A higher number is damage, and could overflow.
const maxNumber = 1 << 62

// follows reports whether n may be the number of the next reading in the segment.
func (s *segment) follows(n uint64) bool {
	return n > 0 && n <= maxNumber && (len(s.places) == 0 || n >= s.end() && n-s.end() < maxHole)
}
