package hub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"giantlizard.example/failover/payloads"
)

// desired gives desired properties to their handler and answers them. The values of one property are handled one after
// another, those of different properties at the same time. Of a property that changes faster than its handler works, the
// newest value is handled.
type desired struct {
	hub     *Hub
	reports *reports

	mu    sync.Mutex
	known map[payloads.PropertyName]*property
	size  int // bytes of their names and values
}

// desiredLimit is far more than the 32 KB, as a hub counts them, of a twin's desired properties.
const desiredLimit = 1 << 20

var errTooMuch = errors.New("hub: the desired properties are more than a twin holds")

type property struct {
	wished  json.RawMessage       // the newest value, whole
	version int64                 // of the desired section that had it last
	busy    bool                  // a handler runs
	again   bool                  // and must run once more
	answer  *payloads.PropertyAck // to the value that is wished; nil: none yet
}

type wish struct {
	payloads.DesiredProperty
	version int64
}

func newDesired(h *Hub, r *reports) *desired {
	return &desired{hub: h, reports: r, known: map[payloads.PropertyName]*property{}}
}

// change handles a patch: each of its properties, even when the value is the old one.
func (d *desired) change(patch payloads.Desired) (err error) {
	all, err := d.whole(patch.Properties)
	for _, p := range all {
		err = cmp.Or(d.handle(wish{p, patch.Version}), err)
	}
	return err
}

// whole is what a patch makes of its properties: of an object it may name a part, and of a component it may say nothing
// but that it is gone. A value that cannot be merged without a change is an error: the whole twin has it as it is.
func (d *desired) whole(patch []payloads.DesiredProperty) (all []payloads.DesiredProperty, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range patch {
		for _, p := range d.members(p) {
			var before json.RawMessage
			if known := d.known[p.Key()]; known != nil {
				before = known.wished
			}
			value, bad := payloads.Merge(before, p.Value)
			if bad != nil {
				err = fmt.Errorf("hub: desired %s: %w", p.Key(), bad)
				continue
			}
			p.Value = value
			all = append(all, p)
		}
	}
	return all, err
}

// members are the properties meant by one that bears the name of a known component: a patch may leave the mark out.
func (d *desired) members(p payloads.DesiredProperty) (all []payloads.DesiredProperty) {
	var object map[string]json.RawMessage
	if p.Component != "" || p.Name == "" || json.Unmarshal(p.Value, &object) != nil {
		return []payloads.DesiredProperty{p}
	}
	for _, key := range d.names() {
		if key.Component == p.Name {
			all = append(all, payloads.DesiredProperty{Component: key.Component, Name: key.Name, Value: p.Value})
		}
	}
	switch {
	case len(all) == 0:
		return []payloads.DesiredProperty{p}
	case object == nil: // null: each of them goes
		return all
	}
	all = nil
	delete(object, payloads.ComponentMarker)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		all = append(all, payloads.DesiredProperty{Component: p.Name, Name: name, Value: object[name]})
	}
	return all
}

// reconcile handles what a whole twin says that has not been handled yet. Versions of different hubs do not compare, so
// values are compared. acked are the versions of the answers that this twin holds.
func (d *desired) reconcile(whole payloads.Desired, acked map[payloads.PropertyName]int64) (err error) {
	wished := map[payloads.PropertyName]bool{}
	for _, p := range whole.Properties {
		wished[p.Key()] = true
		if w := (wish{p, whole.Version}); !d.stands(w, acked) {
			err = cmp.Or(d.handle(w), err)
		}
	}
	for _, p := range d.withdrawn(wished) {
		err = cmp.Or(d.handle(wish{p, whole.Version}), err)
	}
	return err
}

// stands tells whether a value is the one that was handled, or is being handled. Its answer is given again when this hub
// does not have it: it may be on its way still, under a version of another hub's, or have been left behind there.
func (d *desired) stands(w wish, acked map[payloads.PropertyName]int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.known[w.Key()]
	if p == nil {
		d.reports.readdress(w)
	}
	if p == nil || !payloads.SameJSON(p.wished, w.Value) {
		return false
	}
	p.version = w.version
	if p.answer == nil {
		return true
	}
	if av, ok := acked[w.Key()]; !ok || av > w.version || d.reports.answering(w.Key()) {
		*p.answer = p.answer.ForVersion(w.version)
		d.reports.answer(payloads.AcknowledgedProperty{DesiredProperty: w.DesiredProperty, PropertyAck: *p.answer})
	}
	return true
}

// overrule forgets the answers in whose place the program reports something else: given again, they would undo that.
func (d *desired) overrule(patch map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, p := range d.known {
		if replaces(patch, key) {
			p.answer = nil
		}
	}
}

// withdrawn are the properties that were wished before and are not any more, as null.
func (d *desired) withdrawn(wished map[payloads.PropertyName]bool) (gone []payloads.DesiredProperty) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range d.names() {
		if p := d.known[key]; !wished[key] && string(p.wished) != "null" {
			null := json.RawMessage("null")
			gone = append(gone, payloads.DesiredProperty{Component: key.Component, Name: key.Name, Value: null})
		}
	}
	return gone
}

// names are those of the properties that are known, in order.
func (d *desired) names() []payloads.PropertyName {
	return slices.SortedFunc(maps.Keys(d.known), payloads.PropertyName.Compare)
}

// handle refuses what would be too much to know. A removal of what is known never is.
func (d *desired) handle(w wish) error {
	d.mu.Lock()
	p, grows := d.known[w.Key()], len(w.Value)
	if p == nil {
		grows += len(w.Component) + len(w.Name)
	} else {
		grows -= len(p.wished)
	}
	if removes := p != nil && string(w.Value) == "null"; !removes && grows > 0 && d.size+grows > desiredLimit {
		d.mu.Unlock()
		return errTooMuch
	}
	d.size += grows
	if p == nil {
		p = &property{}
		d.known[w.Key()] = p
	}
	p.wished, p.version, p.answer = bytes.Clone(w.Value), w.version, nil
	if p.busy {
		p.again = true
		d.mu.Unlock()
		return nil
	}
	p.busy = true
	d.mu.Unlock()
	d.run(w)
	return nil
}

func (d *desired) run(w wish) {
	err := invoke(d.hub.pool, noLimit, "desired "+w.Key().String(), func(ctx context.Context) (PropertyAck, error) {
		if d.hub.Handlers.Desired == nil {
			return PropertyAck{Code: 404}, errors.New("this device has no such property")
		}
		a, err := d.hub.Handlers.Desired(ctx, w.Key(), bytes.Clone(w.Value))
		if a.Value != nil {
			text, bad := payloads.Marshal(a.Value) // here, for that may be user code too
			a.Value, err = json.RawMessage(text), errors.Join(err, bad)
			if bad != nil {
				a.Value = nil
			}
		}
		return a, err
	}, func(a PropertyAck, err error) { d.done(w, a, err) }, func(PropertyAck, error) { d.next(w) })
	if err != nil {
		d.done(w, PropertyAck{Code: 503}, err)
		d.next(w)
	}
}

// done answers. What no hub takes is shortened; a name that no hub takes cannot be answered.
func (d *desired) done(w wish, a PropertyAck, err error) {
	whole, err := acknowledgement(w, a, err)
	answer, left := payloads.AcknowledgedProperty{DesiredProperty: w.DesiredProperty, PropertyAck: whole}.Fit()
	bad := payloads.CheckReported(payloads.PropertyAckPatch([]payloads.AcknowledgedProperty{answer}))
	d.mu.Lock()
	p := d.known[w.Key()]
	if !p.again {
		answer.PropertyAck = answer.ForVersion(p.version)
	}
	if bad == nil {
		d.reports.answer(answer)
		if sent := answer.PropertyAck; !p.again {
			p.answer = &sent
		}
	}
	d.mu.Unlock()
	d.hub.acknowledged(w.Key(), answer.PropertyAck, errors.Join(err, left))
}

// next goes on, once the handler has returned, with the value that has come meanwhile.
func (d *desired) next(w wish) {
	d.mu.Lock()
	p := d.known[w.Key()]
	if !p.again {
		p.busy = false
		if string(p.wished) == "null" {
			delete(d.known, w.Key())
			d.size -= len(w.Component) + len(w.Name) + len(p.wished)
		}
		d.mu.Unlock()
		return
	}
	p.again = false
	w.Value, w.version = p.wished, p.version
	d.mu.Unlock()
	d.run(w)
}
