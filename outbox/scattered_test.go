package outbox

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Large readings are refused and small ones accepted in turn, so that each drop is a range of its own. No reading is
// delivered before the restart.
func TestScatteredDropsAreNamedAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 2 * maxKnownDrops
		d := boot(t, Options{Limits: Limits{Bytes: 3 << 20, Full: DropNewest}, Sync: time.Minute})
		large := of(strings.Repeat("b", 790_000))
		for range 4 {
			_, _ = d.Put(t.Context(), large, Stamp{}) // the last one is refused
		}
		var want ranges
		for want = append(want, Range{d.Last(), d.Last()}); len(want) < count; {
			fillUp(t, d, 1)
			if _, err := d.Put(t.Context(), large, Stamp{}); !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			want.add(Range{d.Last(), d.Last()})
		}
		d.reboot()
		fillUp(t, d, 1)
		d.RequestSync()
		synctest.Wait()
		var named ranges
		for r, ok := d.Peek(0); ok; r, ok = d.Peek(0) {
			named.addAll(numbersIn(r.Properties[MissingProperty]))
			d.Remove(r.ID.N)
		}
		lost := 0
		for _, r := range want {
			lost += len(named.without(r))
		}
		if lost > 0 {
			t.Errorf("of %d dropped readings, %d are never named to the cloud", len(want), lost)
		}
	})
}

// The bound of docs/guarantees.md.
func TestHeaderKeepsTheNewestDropsUpToItsLimit(t *testing.T) {
	for distance, least := range map[uint64]int{2: 37_000, 1 << 40: 12_000} { // numbers of five and of nine bytes
		all := ranges{}
		for n := uint64(maxNumber - 60_000*distance); len(all) < 60_000; n += distance {
			if distance == 2 {
				n %= 1 << 30
			}
			all = append(all, Range{n, n})
		}
		kept := all.newest(noticeBytes)
		if len(kept) < least || kept[len(kept)-1] != all[len(all)-1] || len(appendRanges(nil, kept)) > frameLimit/2 {
			t.Errorf("of %d drops, %d are kept", len(all), len(kept))
		}
	}
	if all := (ranges{{1, 2}, {5, math.MaxUint32}}); len(all.newest(noticeBytes)) != 2 {
		t.Errorf("of %v, %v are kept", all, all.newest(noticeBytes))
	}
}

func TestRangesAreRemoved(t *testing.T) {
	for _, c := range []struct {
		from   ranges
		remove Range
		want   ranges
	}{
		{ranges{{1, 2}, {5, 9}, {20, 21}}, Range{1, 2}, ranges{{5, 9}, {20, 21}}},
		{ranges{{1, 2}, {5, 9}, {20, 21}}, Range{6, 7}, ranges{{1, 2}, {5, 5}, {8, 9}, {20, 21}}},
		{ranges{{1, 2}, {5, 9}, {20, 21}}, Range{2, 20}, ranges{{1, 1}, {21, 21}}},
		{ranges{{1, 2}, {5, 9}, {20, 21}}, Range{3, 4}, ranges{{1, 2}, {5, 9}, {20, 21}}},
		{ranges{{1, 2}, {5, 9}, {20, 21}}, Range{20, 30}, ranges{{1, 2}, {5, 9}}},
		{ranges{{1, 2}}, Range{0, 30}, ranges{}},
		{nil, Range{1, 1}, nil},
	} {
		s := slices.Clone(c.from)
		if s.remove(c.remove); !slices.Equal(s, c.want) {
			t.Errorf("%v without %v is %v, want %v", c.from, c.remove, s, c.want)
		}
	}
}
