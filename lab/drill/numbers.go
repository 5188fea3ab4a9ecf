package drill

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

// Numbers say how a client numbers its readings: by the digits at the end of the message ID ($.mid), what is before them being
// the series; or, where Field is given, by that field of the body, which is one series.
type Numbers struct{ Field string }

// uuid is what many clients end a message ID with. The digits at its end are no number.
var uuid = regexp.MustCompile(`(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$|(\b|_)[0-9a-f]{32}$`)

func isUUID(id string) bool { return strings.ContainsAny(uuid.FindString(id), "-abcdefABCDEF") }

// of tells a reading's series and number; ok is false for one that has none.
func (n Numbers) of(d emulator.Delivery) (series string, number int64, ok bool) {
	if n.Field == "" {
		if isUUID(d.MessageID) {
			return d.MessageID, 1, true // so that it is known when it comes again
		}
		digits := d.MessageID[len(strings.TrimRight(d.MessageID, "0123456789")):]
		number, err := strconv.ParseInt(digits, 10, 64)
		return strings.TrimSuffix(d.MessageID, digits), number, err == nil
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(d.Body, &body) != nil {
		return "", 0, false
	}
	number, err := strconv.ParseInt(string(body[n.Field]), 10, 64)
	return "", number, err == nil
}

// mostMissing is where counting ends, so that numbers such as a clock's nanoseconds add up to no less than nothing.
const mostMissing = math.MaxInt32

// A Tally is how the readings came.
type Tally struct {
	Delivered  int // different ones
	Missing    int
	Duplicates int
	OutOfOrder int
	Unnumbered int
	ByPeriod   bool // Missing is by the period; the numbers show less
}

// count tells what is missing by the numbers (from 1 or, if that is what the client does, 0) and by the period: a client
// that takes no readings while it is disconnected numbers the others without a gap. One reading in fifty, and one, may be missing
// by the period, because a period is never exact.
func (e *Evidence) count() (t Tally) {
	type id struct {
		series string
		number int64
	}
	seen, first, last, different := map[id]bool{}, map[string]int64{}, map[string]int64{}, map[string]int{}
	for _, d := range e.Deliveries {
		series, n, ok := e.Numbers.of(d)
		if !ok {
			t.Unnumbered++
			continue
		}
		if seen[id{series, n}] {
			t.Duplicates++
			continue
		}
		seen[id{series, n}] = true
		different[series]++
		if last[series] > n {
			t.OutOfOrder++
		}
		if from, ok := first[series]; !ok || n < from {
			first[series] = n
		}
		last[series] = max(last[series], n)
	}
	missing := uint64(0)
	for series := range last {
		span := uint64(last[series]) - uint64(min(first[series], 1)) // from 1, or where it begins if that is before
		missing = min(missing+min(span-uint64(different[series]-1), mostMissing), mostMissing)
	}
	t.Delivered, t.Missing = len(seen), int(missing)
	if byPeriod := e.expected() - t.Delivered - t.Unnumbered; byPeriod > t.Missing {
		t.Missing, t.ByPeriod = byPeriod, true
	}
	return t
}

// expected is how many readings a client must at least have taken, from its first one's delivery until it was stopped. One that has
// delivered none when the scenario starts, although that has waited, owes them from then on.
func (e *Evidence) expected() int {
	if e.Interval <= 0 {
		return 0
	}
	from := e.Start
	if len(e.Deliveries) > 0 && e.Deliveries[0].Received.Before(from) {
		from = e.Deliveries[0].Received
	}
	taken := float64(e.Stopped.Sub(from) / e.Interval)
	return max(0, int(math.Floor(taken*0.98))-1)
}
