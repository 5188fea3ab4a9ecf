package hub

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"giantlizard.example/failover/payloads"
)

// reports are what waits to be sent to the reported section: what the program reports, merged, so that a day of changes
// made offline is one patch, and answers to desired properties. A file keeps it over a restart.
type reports struct {
	mu      sync.Mutex
	waiting batch
	away    batch // taken last, and perhaps given back
	changed chan struct{}
	ended   bool
	kept    *keeper
}

// A batch keeps the answers apart, where no report concerns the same property: they count for nothing when a report is
// checked, and the newest of a property is the only one.
type batch struct {
	own     changes
	answers map[payloads.PropertyName]payloads.AcknowledgedProperty
}

// answersLimit is more than a twin has desired properties. What is above it would be a hub's that invents names and confirms
// nothing; if it should be wished still, it is answered again when the twin is next read.
const answersLimit = 10_000

func newReports() *reports {
	r := &reports{changed: make(chan struct{}, 1)}
	r.kept = newKeeper(func() twinFile {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.all().stored()
	})
	return r
}

// add merges a patch in, or says why no hub would take the result. What JSON cannot hold as it is, is refused.
func (r *reports) add(patch map[string]any) error {
	text, err := payloads.Marshal(patch)
	if err == nil {
		err = payloads.CheckJSON(text)
	}
	if err != nil {
		return fmt.Errorf("hub: report: %w", err)
	}
	fresh, err := readPatch(text)
	if err != nil {
		return fmt.Errorf("hub: report: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return fmt.Errorf("hub: report: %w", errClosing)
	}
	merged := r.away.own.follow(r.waiting.own).lay(fresh)
	if err := payloads.CheckReported(merged.then); err != nil {
		return fmt.Errorf("hub: report: %w", err)
	}
	r.waiting.report(fresh)
	r.wake()
	return nil
}

// answer adds an answer, which Fit has made fit.
func (r *reports) answer(a payloads.AcknowledgedProperty) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting.answer(a)
	r.kept.change()
	r.wake()
}

// readdress gives the answer that waits to a wish, from before a restart, the version that the wish has now.
func (r *reports) readdress(w wish) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, waits := r.waiting.answers[w.Key()]; waits && payloads.SameJSON(a.DesiredProperty.Value, w.Value) {
		a.PropertyAck = a.ForVersion(w.version)
		r.waiting.answers[w.Key()] = a
	}
}

// answering tells whether an answer to the property waits.
func (r *reports) answering(key payloads.PropertyName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, waits := r.waiting.answers[key]
	return waits
}

// wait tells whether anything waits to be sent.
func (r *reports) wait() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting.count() > 0
}

// take hands out what waits, to be confirmed or given back.
func (r *reports) take() batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away, r.waiting = r.waiting, batch{}
	return r.away
}

// confirmed forgets the batch that was taken. While something else waits the file keeps it, which saves a write.
func (r *reports) confirmed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = batch{}
	if r.waiting.count() == 0 {
		r.kept.change()
	}
}

// giveBack puts the batch that was taken back, under what has come since.
func (r *reports) giveBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting, r.away = r.all(), batch{}
	r.wake()
}

// all is what no hub has confirmed.
func (r *reports) all() batch {
	all := batch{r.away.own, maps.Clone(r.away.answers)}
	all.report(r.waiting.own.first)
	all.report(r.waiting.own.then)
	for _, a := range r.waiting.answers {
		all.answer(a)
	}
	return all
}

// end accepts nothing more, and tells how many reported properties and answers are left and whether the file has them.
func (r *reports) end() (left int, kept bool) {
	r.mu.Lock()
	r.ended = true
	left = r.all().count()
	r.mu.Unlock()
	return left, r.kept.end()
}

func (r *reports) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (b batch) count() int { return len(b.own.then) + len(b.answers) }

func (b *batch) report(patch map[string]any) {
	for key, a := range b.answers {
		if concerns(patch, key) {
			delete(b.answers, key)
			b.among(a)
		}
	}
	b.own = b.own.lay(patch)
}

func (b *batch) answer(a payloads.AcknowledgedProperty) {
	if concerns(b.own.then, a.Key()) {
		b.among(a)
		return
	}
	if b.answers == nil {
		b.answers = map[payloads.PropertyName]payloads.AcknowledgedProperty{}
	}
	if _, known := b.answers[a.Key()]; known || len(b.answers) < answersLimit {
		b.answers[a.Key()] = a
	}
}

// among puts an answer among the reports, whose order counts.
func (b *batch) among(a payloads.AcknowledgedProperty) {
	for _, patch := range []map[string]any{payloads.ClearPatch([]payloads.AcknowledgedProperty{a}), payloads.PropertyAckPatch([]payloads.AcknowledgedProperty{a})} {
		plain, _ := asJSON(patch) // an answer marshals
		b.own = b.own.lay(plain)
	}
}

// concerns tells whether a patch says something about a property.
func concerns(patch map[string]any, p payloads.PropertyName) bool {
	if p.Component == "" {
		_, ok := patch[p.Name]
		return ok
	}
	value, ok := patch[p.Component]
	component, isObject := value.(map[string]any)
	if isObject {
		_, ok = component[p.Name]
	}
	return ok
}

// replaces tells whether a patch leaves nothing of a property's answer, into which an object would be merged.
func replaces(patch map[string]any, p payloads.PropertyName) bool {
	if !concerns(patch, p) {
		return false
	}
	value := patch[p.Name]
	if p.Component != "" {
		component, _ := patch[p.Component].(map[string]any)
		value = component[p.Name]
	}
	_, isObject := value.(map[string]any)
	return !isObject
}

// patches are the batch as it is sent, in order. A removal is more than what an answer clears beneath it.
func (b batch) patches() []map[string]any {
	answers := slices.Collect(maps.Values(b.answers))
	first := changes{then: payloads.ClearPatch(answers)}.lay(b.own.first)
	then := b.own.lay(payloads.PropertyAckPatch(answers))
	return changes{first.then, then.then}.patches()
}

// asJSON is the patch as it will be sent, apart from the caller's own values. Numbers keep their digits.
func asJSON(patch map[string]any) (map[string]any, error) {
	text, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	return readPatch(text)
}
