package drill

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

// Numbers says how a client numbers its readings. If Field is empty, the digits at the end of the
// message ID ($.mid) are the number, and what precedes them is the series. Otherwise the field of
// the body with this name is the number, and there is one series.
type Numbers struct{ Field string }

// uuid matches a UUID at the end of a message ID. The digits at its end are not a number.
var uuid = regexp.MustCompile(`(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$|(\b|_)[0-9a-f]{32}$`)

func isUUID(id string) bool { return strings.ContainsAny(uuid.FindString(id), "-abcdefABCDEF") }

// of returns the series and the number of a reading. ok is false if it has no number.
func (n Numbers) of(d emulator.Delivery) (series string, number int64, ok bool) {
	if n.Field == "" {
		if isUUID(d.MessageID) {
			return d.MessageID, 1, true // a series of one reading, so that a second delivery counts as a duplicate
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

// maxMissing bounds the number of missing readings, which would overflow if a client numbered its
// readings by the time in nanoseconds.
const maxMissing = math.MaxInt32

// A Tally counts readings.
type Tally struct {
	Delivered  int // delivered readings, without duplicates
	Missing    int
	Duplicates int
	OutOfOrder int
	Unnumbered int
	ByPeriod   bool // Missing was counted by the interval, because by the numbers fewer are missing
}

// count counts the readings. It finds missing readings by gaps in the numbers, which begin at 1, or
// at 0 if the client numbers from 0. A client that takes no readings while it is disconnected leaves
// no gap in the numbers, so count also compares the number of readings with the expected number.
func (e *Evidence) count() (t Tally) {
	type id struct {
		series string
		number int64
	}
	seen, first, last, distinct := map[id]bool{}, map[string]int64{}, map[string]int64{}, map[string]int{}
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
		distinct[series]++
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
		span := uint64(last[series]) - uint64(min(first[series], 1)) // numbers begin at 1, or at a smaller first number
		missing = min(missing+min(span-uint64(distinct[series]-1), maxMissing), maxMissing)
	}
	t.Delivered, t.Missing = len(seen), int(missing)
	if byPeriod := e.expected() - t.Delivered - t.Unnumbered; byPeriod > t.Missing {
		t.Missing, t.ByPeriod = byPeriod, true
	}
	return t
}

// expected returns the least number of readings that a client must have taken, from the delivery of
// its first reading until it was stopped. If the client has delivered no reading when the scenario
// starts, the count begins at the start of the scenario. One reading in fifty and one more may be
// missing, because no interval is exact.
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
