package hub

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/settings"
	"giantlizard.example/failover/statefile"
)

// reported holds what is pending for the reported section of the twin: the reports of the program,
// merged so that a day of changes made offline becomes one patch, and the acknowledgements of
// desired properties. A file keeps both over a restart.
type reported struct {
	mu       sync.Mutex
	pending  batch
	inFlight batch         // sent, and not yet confirmed
	kept     batch         // read from the file, and not sent in this run, because its kind is switched off
	news     chan struct{} // has a value when something may have become pending
	ended    bool
	file     *statefile.Newest[twinFile]
}

// A batch keeps acknowledgements apart from reports unless both concern the same property.
// Acknowledgements do not count when a report is checked, and only the newest acknowledgement of a
// property matters.
type batch struct {
	reports merged
	acks    map[payloads.PropertyName]payloads.AcknowledgedProperty
}

// acksLimit bounds the pending acknowledgements. It is more than a twin has desired properties:
// only a hub that invents names, and confirms nothing, exceeds it. A property whose acknowledgement
// is left out is acknowledged again when the twin is next read.
const acksLimit = 10_000

func newReported(file statefile.File) *reported {
	r := &reported{news: make(chan struct{}, 1)}
	r.file = statefile.NewNewest(file, func() twinFile {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.kept.with(r.unconfirmed()).stored()
	})
	r.file.IsEmpty = twinFile.isEmpty
	return r
}

// report merges a patch into what is pending. It refuses a patch that no hub would accept, or that
// JSON would change.
func (r *reported) report(patch map[string]any) error {
	text, err := payloads.Marshal(patch)
	if err == nil {
		err = payloads.CheckJSON(text)
	}
	if err != nil {
		return err
	}
	fresh, _ := readPatch(text) // a copy that the caller cannot change; CheckJSON has read the text before
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return errClosing
	}
	all := r.inFlight.reports.add(r.pending.reports.first).add(r.pending.reports.then).add(fresh)
	if err := payloads.CheckReported(all.then); err != nil {
		return err
	}
	r.pending.report(fresh)
	signal(r.news)
	return nil
}

// acknowledge makes an acknowledgement pending, which must be one that a hub accepts.
func (r *reported) acknowledge(a payloads.AcknowledgedProperty) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending.acknowledge(a)
	r.file.Changed()
	signal(r.news)
}

// updateVersion sets the version of a pending acknowledgement from before a restart to that of v,
// if the acknowledgement is of the same value.
func (r *reported) updateVersion(v desiredValue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, ok := r.pending.acks[v.Key()]; ok && payloads.SameJSON(a.DesiredProperty.Value, v.Value) {
		a.PropertyAck = a.ForVersion(v.version)
		r.pending.acks[v.Key()] = a
	}
}

// hasPendingAck reports whether an acknowledgement of the property is pending.
func (r *reported) hasPendingAck(key payloads.PropertyName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.pending.acks[key]
	return ok
}

// hasPending reports whether anything is pending.
func (r *reported) hasPending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending.count() > 0
}

// take returns what is pending, which is then in flight until confirmed or giveBack is called.
func (r *reported) take() batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight, r.pending = r.pending, batch{}
	return r.inFlight
}

// confirmed forgets what is in flight. While something else is pending, the file is not updated,
// which saves a write.
func (r *reported) confirmed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight = batch{}
	if r.pending.count() == 0 {
		r.file.Changed()
	}
}

// giveBack makes what is in flight pending again. Values that have become pending since take are
// newer and win.
func (r *reported) giveBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.inFlight = r.unconfirmed(), batch{}
	signal(r.news)
}

// unconfirmed returns what is in flight and what is pending. The caller holds mu.
func (r *reported) unconfirmed() batch { return r.inFlight.with(r.pending) }

// end makes report refuse further patches. It returns how many reported properties and
// acknowledgements are unconfirmed, and whether the file holds them.
func (r *reported) end() (unconfirmed int, kept bool) {
	r.mu.Lock()
	r.ended = true
	unconfirmed = r.kept.with(r.unconfirmed()).count()
	r.mu.Unlock()
	return unconfirmed, r.file.Close()
}

// load makes pending what no hub had confirmed before the restart. What belongs to the kinds in off is
// only kept. The caller reports an error as a warning.
func (r *reported) load(off Kinds) error {
	f, ok, err := r.file.Load()
	if ok {
		if r.pending, err = f.batch(); err != nil {
			err = r.file.File().SetAside("damaged", err)
		}
	}
	if off.Has(Reported) {
		r.kept.reports, r.pending.reports = r.pending.reports, merged{}
	}
	if off.Has(Desired) {
		r.kept.acks, r.pending.acks = r.pending.acks, nil
	}
	if err != nil {
		return fmt.Errorf("hub: the reported properties: %w", err)
	}
	return nil
}

func (b batch) count() int { return len(b.reports.then) + len(b.acks) }

// with returns b with a newer batch merged into it.
func (b batch) with(newer batch) batch {
	all := batch{b.reports, maps.Clone(b.acks)}
	all.report(newer.reports.first)
	all.report(newer.reports.then)
	for _, a := range newer.acks {
		all.acknowledge(a)
	}
	return all
}

func (b *batch) report(patch map[string]any) {
	for key, a := range b.acks {
		if concerns(patch, key) {
			delete(b.acks, key)
			b.mergeAck(a)
		}
	}
	b.reports = b.reports.add(patch)
}

func (b *batch) acknowledge(a payloads.AcknowledgedProperty) {
	if concerns(b.reports.then, a.Key()) {
		b.mergeAck(a)
		return
	}
	settings.Default(&b.acks, map[payloads.PropertyName]payloads.AcknowledgedProperty{})
	if _, known := b.acks[a.Key()]; known || len(b.acks) < acksLimit {
		b.acks[a.Key()] = a
	}
}

// mergeAck merges an acknowledgement into the reports, because the order of the two matters.
func (b *batch) mergeAck(a payloads.AcknowledgedProperty) {
	acks := []payloads.AcknowledgedProperty{a}
	for _, patch := range []map[string]any{payloads.ClearPatch(acks), payloads.PropertyAckPatch(acks)} {
		text, _ := json.Marshal(patch) // cannot fail: every acknowledgement can be marshalled
		plain, _ := readPatch(text)
		b.reports = b.reports.add(plain)
	}
}

// patches returns the patches that send the batch, in order. The patch that clears the value of an
// acknowledgement never undoes the removal of an object around that value.
func (b batch) patches() []map[string]any {
	acks := slices.Collect(maps.Values(b.acks))
	first := merged{then: payloads.ClearPatch(acks)}.add(b.reports.first)
	then := b.reports.add(payloads.PropertyAckPatch(acks))
	return merged{first.then, then.then}.patches()
}

// concerns reports whether a patch says something about a property.
func concerns(patch map[string]any, p payloads.PropertyName) bool {
	_, ok := lookup(patch, p)
	return ok
}

// replaces reports whether a patch replaces the whole acknowledgement of a property. A value that
// is an object does not: a twin merges it into the acknowledgement.
func replaces(patch map[string]any, p payloads.PropertyName) bool {
	value, ok := lookup(patch, p)
	_, isObject := value.(map[string]any)
	return ok && !isObject
}

// lookup returns the value that a patch has for a property. If the patch replaces or removes the
// whole component, lookup returns the value that it has for the component.
func lookup(patch map[string]any, p payloads.PropertyName) (value any, ok bool) {
	if p.Component == "" {
		value, ok = patch[p.Name]
		return value, ok
	}
	value, ok = patch[p.Component]
	if component, isObject := value.(map[string]any); isObject {
		value, ok = component[p.Name]
	}
	return value, ok
}

// signal puts a value into a channel of capacity 1, unless the channel is full.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
