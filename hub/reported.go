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

// reported holds what is pending for the reported section of the twin: what the program reports,
// merged, so that a day of changes made offline is one patch, and acknowledgements of desired
// properties. A file keeps both over a restart.
type reported struct {
	mu       sync.Mutex
	pending  batch
	inFlight batch         // sent, and not yet confirmed
	news     chan struct{} // has a value when something may have become pending
	ended    bool
	file     *statefile.Newest[twinFile]
}

// A batch keeps the acknowledgements apart unless a report concerns the same property. They do not
// count when a report is checked, and only the newest of a property matters.
type batch struct {
	reports merged
	acks    map[payloads.PropertyName]payloads.AcknowledgedProperty
}

// acksLimit is more than a twin has desired properties. Only a hub that invents names, and confirms
// nothing, exceeds it. A property whose acknowledgement is left out is acknowledged again when the
// twin is next read.
const acksLimit = 10_000

func newReported(file statefile.File) *reported {
	r := &reported{news: make(chan struct{}, 1)}
	r.file = statefile.NewNewest(file, func() twinFile {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.unconfirmed().stored()
	})
	r.file.IsEmpty = twinFile.isEmpty
	return r
}

// report merges a patch into what is pending. It refuses what no hub would take, and what JSON
// would change.
func (r *reported) report(patch map[string]any) error {
	text, err := payloads.Marshal(patch)
	if err == nil {
		err = payloads.CheckJSON(text)
	}
	if err != nil {
		return err
	}
	fresh, _ := readPatch(text) // apart from the caller's values; CheckJSON has read it
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

// acknowledge makes an acknowledgement pending that a hub will take.
func (r *reported) acknowledge(a payloads.AcknowledgedProperty) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending.acknowledge(a)
	r.file.Changed()
	signal(r.news)
}

// updateVersion gives the pending acknowledgement of a value, which is from before a restart, the
// version that the value has now.
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

// take returns what is pending, which is in flight until confirmed or giveBack.
func (r *reported) take() batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight, r.pending = r.pending, batch{}
	return r.inFlight
}

// confirmed forgets what is in flight. The file keeps it while something else is pending, which
// saves a write.
func (r *reported) confirmed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight = batch{}
	if r.pending.count() == 0 {
		r.file.Changed()
	}
}

// giveBack makes what is in flight pending again. What has become pending since then is newer.
func (r *reported) giveBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.inFlight = r.unconfirmed(), batch{}
	signal(r.news)
}

// unconfirmed returns what is in flight and what is pending. It is called with mu held.
func (r *reported) unconfirmed() batch {
	all := batch{r.inFlight.reports, maps.Clone(r.inFlight.acks)}
	all.report(r.pending.reports.first)
	all.report(r.pending.reports.then)
	for _, a := range r.pending.acks {
		all.acknowledge(a)
	}
	return all
}

// end accepts no more reports. It returns how many reported properties and acknowledgements are
// unconfirmed, and whether the file has them.
func (r *reported) end() (unconfirmed int, kept bool) {
	r.mu.Lock()
	r.ended = true
	unconfirmed = r.unconfirmed().count()
	r.mu.Unlock()
	return unconfirmed, r.file.Close()
}

// load makes pending what no hub had confirmed before the restart. An error is a warning.
func (r *reported) load() error {
	f, ok, err := r.file.Load()
	if ok {
		if r.pending, err = f.batch(); err != nil {
			err = r.file.File().SetAside("damaged", err)
		}
	}
	if err != nil {
		return fmt.Errorf("hub: the reported properties: %w", err)
	}
	return nil
}

func (b batch) count() int { return len(b.reports.then) + len(b.acks) }

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

// mergeAck merges an acknowledgement into the reports, whose order matters.
func (b *batch) mergeAck(a payloads.AcknowledgedProperty) {
	acks := []payloads.AcknowledgedProperty{a}
	for _, patch := range []map[string]any{payloads.ClearPatch(acks), payloads.PropertyAckPatch(acks)} {
		text, _ := json.Marshal(patch) // an acknowledgement can be marshalled
		plain, _ := readPatch(text)
		b.reports = b.reports.add(plain)
	}
}

// patches returns the batch as it is sent, in order. What an acknowledgement clears never undoes a
// removal above it.
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

// replaces reports whether a patch leaves nothing of a property's acknowledgement. An object is
// merged into it.
func replaces(patch map[string]any, p payloads.PropertyName) bool {
	value, ok := lookup(patch, p)
	_, isObject := value.(map[string]any)
	return ok && !isObject
}

// lookup returns what a patch says about a property. That is what it says about the component, if it
// does not describe that as an object.
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

// signal puts a value into a channel that has room for one, unless there is one already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
