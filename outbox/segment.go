package outbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"
)

// A segment is one file of the log, with a list of those of its readings that are still pending.
type segment struct {
	name   string
	number uint64 // counts up from segment to segment
	isBare bool   // Open found a header and nothing else in it

	block[place]      // guarded by the queue's lock
	damaged      bool // likewise

	file    File        // nil if it is not open; guarded by the handles' lock
	writing atomic.Bool // it is the tail

	// The committer's:
	info   fs.FileInfo // identifies the file
	header header
	size   int64 // bytes that count
	safe   int64 // bytes that were synced
	short  bool  // not all of it could be restored
}

// A place is where a reading stands in its segment. It takes little memory, for a long outage makes many.
type place struct {
	offset, size uint32 // of its frame
	put          uint32 // seconds since Open; of an earlier run, Unix time, where zero means that it is not known
}

const suffix = ".log"

func segmentName(number uint64) string { return fmt.Sprintf("%010d%s", number, suffix) }

// numberOf is the number in a segment's name; ok is false for any other file.
func numberOf(name string) (n uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if _, err := fmt.Sscanf(digits, "%d", &n); err != nil || !ok || segmentName(n) != name {
		return 0, false
	}
	return n, true
}

var errRotten = errors.New("the record is damaged: its checksum does not match")

// read reads a reading from the open file, and checks that it is the one with the ID.
func (s *segment) read(p place, id ID) (Reading, error) {
	b := make([]byte, p.size)
	if n, err := s.file.ReadAt(b, int64(p.offset)); err != nil && (n < len(b) || !errors.Is(err, io.EOF)) {
		return Reading{}, err
	}
	return readingIn(b, s.name, p, id)
}

// readingIn returns the reading whose frame begins b, if it is the one with the ID. Its body stays in b.
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
