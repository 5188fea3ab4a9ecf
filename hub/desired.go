package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
)

// desired gives desired properties to their handler and reports its acknowledgements. The values of one property are
// handled one after another, those of different properties at the same time. Of a property that changes faster than its
// handler works, the newest value is handled.
type desired struct {
	hub     *Hub
	reports *reports

	mu    sync.Mutex
	known map[string]*property
}

type property struct {
	component, name string

	value json.RawMessage // last given to the handler
	next  *wish           // to be handled after the one that runs
	busy  bool
}

type wish struct {
	payloads.DesiredProperty
	version int64
}

func newDesired(h *Hub, r *reports) *desired {
	return &desired{hub: h, reports: r, known: map[string]*property{}}
}

// change handles a patch: each of its properties, even when the value is the old one.
func (d *desired) change(patch payloads.Desired) {
	for _, p := range patch.Properties {
		d.handle(wish{p, patch.Version})
	}
}

// reconcile handles what a whole twin says that has not been handled yet. Versions of different hubs do not compare, so
// values are compared.
func (d *desired) reconcile(whole payloads.Desired) {
	wished := map[string]bool{}
	for _, p := range whole.Properties {
		wished[p.Key()] = true
		d.mu.Lock()
		known := d.known[p.Key()]
		same := known != nil && bytes.Equal(known.value, p.Value) && known.next == nil
		d.mu.Unlock()
		if !same {
			d.handle(wish{p, whole.Version})
		}
	}
	for _, p := range d.withdrawn(wished) {
		d.handle(wish{p, whole.Version})
	}
}

// withdrawn are the properties that were wished before and are not any more, as null.
func (d *desired) withdrawn(wished map[string]bool) (gone []payloads.DesiredProperty) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(d.known)) {
		if p := d.known[key]; !wished[key] && string(p.value) != "null" {
			gone = append(gone, payloads.DesiredProperty{Component: p.component, Name: p.name, Value: json.RawMessage("null")})
		}
	}
	return gone
}

func (d *desired) handle(w wish) {
	d.mu.Lock()
	p := d.known[w.Key()]
	if p == nil {
		p = &property{component: w.Component, name: w.Name}
		d.known[w.Key()] = p
	}
	if p.busy {
		p.next = &w
		d.mu.Unlock()
		return
	}
	p.busy, p.value = true, bytes.Clone(w.Value)
	d.mu.Unlock()

	err := invoke(d.hub.pool, noLimit, "desired "+w.Key(), func(ctx context.Context) (Ack, error) {
		if d.hub.Handlers.Desired == nil {
			return Ack{Code: 404}, errors.New("this device has no such property")
		}
		a, err := d.hub.Handlers.Desired(ctx, w.Key(), w.Value)
		if a.Value != nil {
			text, bad := json.Marshal(a.Value) // here, for that may be user code too
			a.Value, err = json.RawMessage(text), errors.Join(err, bad)
			if bad != nil {
				a.Value = nil
			}
		}
		return a, err
	}, func(a Ack, err error) { d.done(w, a, err) }, func(Ack, error) { d.next(w) })
	if err != nil {
		d.done(w, Ack{Code: 503}, err)
		d.next(w)
	}
}

// done reports the acknowledgement.
func (d *desired) done(w wish, a Ack, err error) {
	sent := acknowledgement(w, a, err)
	patch := payloads.AckPatch([]payloads.Acked{{DesiredProperty: w.DesiredProperty, Ack: sent}})
	d.hub.acknowledged(w.Key(), sent, errors.Join(err, d.reports.add(patch)))
}

// next goes on, once the handler has returned, with the value that has come meanwhile.
func (d *desired) next(w wish) {
	d.mu.Lock()
	p := d.known[w.Key()]
	next := p.next
	p.busy, p.next = false, nil
	d.mu.Unlock()
	if next != nil {
		d.handle(*next)
	}
}

func acknowledgement(w wish, a Ack, err error) payloads.Ack {
	sent := payloads.Ack{Value: w.Value, Code: a.Code, Version: w.version, Description: a.Description}
	if a.Value != nil {
		value, bad := json.Marshal(a.Value)
		if bad == nil {
			sent.Value = value
		}
		err = errors.Join(err, bad)
	}
	if sent.Code == 0 {
		sent.Code = 200
	}
	if err != nil {
		if sent.Code < 400 {
			sent.Code = 500
		}
		sent.Description = err.Error()
	}
	return sent
}

// acknowledged records an acknowledgement; it is sent with the reported properties.
func (h *Hub) acknowledged(key string, a payloads.Ack, err error) {
	r := observe.Record{Level: observe.Info, Kind: observe.Handled, Name: "desired " + key, Status: a.Code}
	if err != nil {
		r.Level, r.Error = observe.Warn, err.Error()
	}
	h.Emit(r)
}
