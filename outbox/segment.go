package outbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"
)

// A segment is one file of the log. Its block lists the readings in the file that are still pending.
type segment struct {
	name   string
	number uint64 // counts up from segment to segment
	isBare bool   // Open found nothing but a header in the file

	block[place]      // guarded by the queue's lock
	damaged      bool // guarded by the queue's lock

	file    File        // nil means that the file is not open; guarded by the handles' lock
	writing atomic.Bool // the segment is the tail, to which the committer writes

	// The fields below belong to the committer.
	info   fs.FileInfo // identifies the file
	header header
	size   int64 // bytes of the file that belong to the log
	safe   int64 // bytes that were synced
	short  bool  // only a part of the segment could be restored
}

// A place is the position of a reading in its segment's file. It is small, because a long outage makes many places.
type place struct {
	offset, size uint32 // offset and size of the frame in bytes

	// put is the time at which the reading was put: for a reading of this run in seconds since Open, for
	// a reading of an earlier run in Unix time, where zero means that the time is not known.
	put uint32
}

const suffix = ".log"

func segmentName(number uint64) string { return fmt.Sprintf("%010d%s", number, suffix) }

// numberOf returns the number in the name of a segment's file; ok is false for any other name.
func numberOf(name string) (n uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if _, err := fmt.Sscanf(digits, "%d", &n); err != nil || !ok || segmentName(n) != name {
		return 0, false
	}
	return n, true
}

var errRotten = errors.New("the record is damaged: it is not what was written")

// read reads a reading from the open file, and returns an error if the reading does not have the ID.
func (s *segment) read(p place, id ID) (Reading, error) {
	b := make([]byte, p.size)
	if n, err := s.file.ReadAt(b, int64(p.offset)); err != nil && (n < len(b) || !errors.Is(err, io.EOF)) {
		return Reading{}, err
	}
	return readingIn(b, s.name, p, id)
}

// readingIn parses the reading whose frame is at the beginning of b, and returns an error if the reading does not
// have the ID. The body of the reading shares the memory of b.
func readingIn(b []byte, name string, p place, id ID) (Reading, error) {
	payload, _, size := frameAt(b, name)
	if payload == nil || size != int(p.size) || payload[0] != kindReading {
		return Reading{}, errRotten
	}
	r, _, err := parseReading(payload[1:])
	if err != nil || r.ID != id {
		return Reading{}, errRotten
	}
	return r, nil
}
