//go:build unix

package main_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// window is the maximum number of readings in flight.
const window = 64

// A cut is a kill of the device or the death of its hub. Readings sent before its end have arrived
// by then, if they arrive at all.
type cut struct {
	begin, end time.Time
	again      int // how many readings came again because of it
}

// again counts the readings that were delivered again: all of them, and those after the cut with
// the most. A settled reading may not come again, and none may without a cut. After a cut the
// window may come again, and the readings that the next commit would have removed. The commit comes
// within a second (outbox: ackDelay), in which the hub acknowledges at most one window in each time
// that it is late.
func (tt *torture) again() (all, most int, err error) {
	const commit = window * int(time.Second/late)
	var errs []error
	wrong := func(format string, values ...any) { errs = append(errs, fmt.Errorf(format, values...)) }
	arrived := map[string]time.Time{} // last
	for _, d := range tt.cloud.Ledger() {
		before, twice := arrived[d.MessageID]
		arrived[d.MessageID] = d.Received
		if !twice {
			continue
		}
		all++
		if since, ok := tt.settled[d.MessageID]; ok && d.Received.After(since) {
			wrong("%s came again %s after it had been settled", d.MessageID, d.Received.Sub(since))
		}
		i := slices.IndexFunc(tt.cuts, func(c cut) bool { return !c.end.Before(before) })
		if i < 0 || d.Received.Before(tt.cuts[i].begin) {
			wrong("%s came again without a reason", d.MessageID)
			continue
		}
		tt.cuts[i].again++
		most = max(most, tt.cuts[i].again)
	}
	if most > window+commit {
		wrong("%d readings came again after one kill or death", most)
	}
	return all, most, errors.Join(errs[:min(len(errs), 10)]...)
}

// crowded reports an error if more readings than the window were in flight: one more than the
// window arrived in one session before the first can have been acknowledged. It does not check the
// last start, during which the hubs acknowledge at once.
func (tt *torture) crowded() error {
	ledger := tt.cloud.Ledger()[:tt.early]
	for i := window; i < len(ledger); i++ {
		from, to := ledger[i-window].Received, ledger[i].Received
		if to.Sub(from) < late && !slices.ContainsFunc(tt.cuts,
			func(c cut) bool { return from.Before(c.end) && c.begin.Before(to) }) {
			return fmt.Errorf("%s arrived while %d were in flight", ledger[i].MessageID, window)
		}
	}
	return nil
}

// judge compares the accepted readings with those at the hubs: there is one epoch, each number from
// 1 to the last, and under each ID the reading that was accepted with it.
func (tt *torture) judge() error {
	bodies, epoch, last := map[uint64]string{}, "", uint64(0)
	var errs []error
	wrong := func(format string, values ...any) { errs = append(errs, fmt.Errorf(format, values...)) }
	for _, d := range tt.cloud.Ledger() {
		e, number, _ := strings.Cut(d.MessageID, "-")
		n, bad := strconv.ParseUint(number, 10, 64)
		if epoch == "" {
			epoch = e
		}
		if bad != nil || e != epoch {
			wrong("%s is not of epoch %s", d.MessageID, epoch)
			continue
		}
		if body, twice := bodies[n]; twice && body != string(d.Body) {
			wrong("%s was %s and then %s", d.MessageID, body, d.Body)
		}
		bodies[n] = string(d.Body)
		last = max(last, n)
	}
	for n := uint64(1); n <= last; n++ {
		if _, ok := bodies[n]; !ok {
			wrong("%s-%d is missing", epoch, n)
		}
	}
	for id, body := range tt.accepted {
		_, number, _ := strings.Cut(id, "-")
		n, _ := strconv.ParseUint(number, 10, 64)
		if !strings.HasPrefix(id, epoch+"-") || bodies[n] != strconv.Itoa(body) {
			wrong("%s was accepted as %d and delivered as %q", id, body, bodies[n])
		}
	}
	for _, v := range tt.cloud.Violations() {
		if !strings.Contains(v, "polled more than") { // how often, only the process knew that was killed
			wrong("%s", v)
		}
	}
	return errors.Join(errs[:min(len(errs), 10)]...)
}
