package outbox

import "testing"

func TestReadingIsFoundBehindAnEmptySegmentThatBeginsWithAHigherNumber(t *testing.T) {
	older, empty, newer := &segment{}, &segment{block: block[place]{first: 20}}, &segment{}
	older.add(17, place{size: 1})
	newer.add(18, place{size: 1})
	d := &diskStore{segments: []*segment{older, empty, newer}, safe: 18}
	for n, s := range map[uint64]*segment{17: older, 18: newer, 16: nil, 19: nil} {
		if got := d.find(n); got != s {
			t.Errorf("%d is found in %+v", n, got)
		}
	}
	if n, ok := d.oldest(17, nil); !ok || n != 18 {
		t.Errorf("the oldest above 17 is %d, %v", n, ok)
	}
}
