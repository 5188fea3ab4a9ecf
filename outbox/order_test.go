package outbox

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// segments writes a log whose segments hold readings with the given numbers. All checksums are right.
func segments(t *testing.T, numbers ...[]uint64) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i, all := range numbers {
		name := segmentName(uint64(i + 1))
		b := appendFrame(nil, name, 0, func(p []byte) []byte { return appendHeader(p, header{epoch: "aaaaaaaa"}) })
		for _, n := range all {
			r := Reading{ID: ID{"aaaaaaaa", n}, Reading: of(fmt.Sprint("reading ", n))}
			b = appendFrame(b, name, int64(len(b)), func(p []byte) []byte { return appendReading(p, r, time.Now()) })
		}
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	return dir
}

// deliveredFrom opens a log and removes its readings, and returns their numbers and those of the dropped ones.
func deliveredFrom(t *testing.T, dir string) (out []uint64, dropped ranges) {
	t.Helper()
	l, err := Open(dir, Options{Dropped: func(d Drop) { dropped.add(d.Numbers) }})
	must(t, err)
	for r, ok := l.Peek(0); ok; r, ok = l.Peek(0) {
		l.Remove(r.ID.N)
		out = append(out, r.ID.N)
	}
	if n, _ := l.Pending(); n > 0 {
		t.Errorf("%d readings are never handed out", n)
	}
	must(t, l.Close())
	return out, dropped
}

func TestSegmentWhoseReadingsAreOutOfOrderIsDamaged(t *testing.T) {
	for _, c := range []struct {
		segments [][]uint64
		out      []uint64
		dropped  ranges
	}{
		{[][]uint64{{1, 2}, {3, 4}}, []uint64{1, 2, 3, 4}, nil},
		{[][]uint64{{100}, {51}, {52}}, []uint64{100}, ranges{{51, 52}}},
		{[][]uint64{{50, 60}, {55, 61}, {58, 62}}, []uint64{50, 60, 61, 62}, ranges{{55, 55}, {58, 58}}},
		{[][]uint64{{5, 6, 7}, {6, 7}}, []uint64{5, 6, 7}, nil}, // written again after a failure
	} {
		out, dropped := deliveredFrom(t, segments(t, c.segments...))
		if !slices.Equal(out, c.out) || !slices.Equal(dropped, c.dropped) {
			t.Errorf("%v: handed out %v, dropped %v", c.segments, out, dropped)
		}
	}
}

func TestNumberThatNoLogGivesOutIsDamage(t *testing.T) {
	for _, n := range []uint64{0, maxNumber + 1, math.MaxUint64} {
		dir := segments(t, []uint64{1}, []uint64{n}, []uint64{2})
		if out, _ := deliveredFrom(t, dir); !slices.Equal(out, []uint64{1, 2}) {
			t.Errorf("%d: handed out %v", n, out)
		}
	}
}

// Whatever the order, each reading is handed out or dropped, also at the next start.
func TestReadingsInAnyOrderAreHandedOutOrDropped(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		var all [][]uint64
		var expected ranges
		for range 1 + random.IntN(5) {
			var numbers []uint64
			for n := random.Uint64N(30); len(numbers) < 1+random.IntN(5); {
				n += 1 + random.Uint64N(4)
				if len(expected.without(Range{n, n})) > 0 { // a number that comes again was written again
					numbers = append(numbers, n)
					expected.add(Range{n, n})
				}
			}
			all = append(all, numbers)
		}
		dir := segments(t, all...)
		var known ranges
		for range 2 {
			out, dropped := deliveredFrom(t, dir)
			known.addAll(dropped)
			for _, n := range out {
				known.add(Range{n, n})
			}
		}
		if !slices.Equal(known, expected) {
			t.Fatalf("%v: handed out or dropped %v", all, known)
		}
	}
}
