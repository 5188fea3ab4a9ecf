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

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
)

// desired gives desired values to their handler and acknowledges them. The values of one property
// are handled one after another, values of different properties at the same time. If a property
// changes faster than its handler works, only the newest value is handled.
type desired struct {
	handler  desiredHandler // nil means that the program has no handler
	pool     *pool
	reported *reported
	emit     func(observe.Record)

	mu    sync.Mutex
	known knownProperties
	size  int // total bytes of the known names and values
}

// desiredLimit bounds the total bytes of the known names and values. It is far more than the 32 KB,
// as a hub counts them, of a twin's desired properties.
const desiredLimit = 1 << 20

var errTooMuch = errors.New("hub: desired: all properties together are larger than a twin can be")

type property struct {
	value   json.RawMessage       // the newest desired value, with all its parts
	version int64                 // version of the desired section that held value last
	running bool                  // a handler for this property runs
	changed bool                  // the handler must run again, for a newer value
	ack     *payloads.PropertyAck // acknowledgement of value; nil means none yet, or one that a report has replaced
}

type desiredHandler = func(context.Context, payloads.PropertyName, json.RawMessage) (PropertyAck, error)

type desiredValue struct {
	payloads.DesiredProperty
	version int64
}

// applyPatch handles each property of a patch, even if its value has not changed, and the removal of
// what the property displaces.
func (d *desired) applyPatch(patch payloads.Desired) (err error) {
	all, err := d.merge(patch.Properties)
	for _, p := range all {
		d.mu.Lock()
		displaced := d.known.displacedBy(p.Key())
		d.mu.Unlock()
		err = cmp.Or(d.handle(desiredValue{p, patch.Version}), err)
		for _, key := range displaced {
			err = cmp.Or(d.handle(desiredValue{removal(key), patch.Version}), err)
		}
	}
	return err
}

// merge returns the whole values of the properties that a patch names: the patch may name parts of
// an object, or only the component that was removed. It returns an error for a value that merging
// would alter; the whole twin, which is then read, holds that value unaltered.
func (d *desired) merge(patch []payloads.DesiredProperty) (all []payloads.DesiredProperty, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range patch {
		for _, p := range d.propertiesIn(p) {
			var old json.RawMessage
			if known := d.known.get(p.Key()); known != nil {
				old = known.value
			}
			value, bad := payloads.Merge(old, p.Value)
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

// propertiesIn returns the properties of a known component if p has the name of the component: a
// patch may leave out the marker of components. Otherwise it returns p.
func (d *desired) propertiesIn(p payloads.DesiredProperty) (all []payloads.DesiredProperty) {
	var object map[string]json.RawMessage
	inside := d.known.displacedBy(p.Key())
	if p.Component != "" || len(inside) == 0 || json.Unmarshal(p.Value, &object) != nil {
		return []payloads.DesiredProperty{p}
	}
	if object == nil { // null removes every property of the component
		for _, key := range inside {
			all = append(all, removal(key))
		}
		return all
	}
	delete(object, payloads.ComponentMarker)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		all = append(all, payloads.DesiredProperty{Component: p.Name, Name: name, Value: object[name]})
	}
	return all
}

// applyTwin handles the values of a whole twin that have not been handled yet. It compares values,
// because versions of different hubs cannot be compared. acked holds the version of each
// acknowledgement in this twin.
func (d *desired) applyTwin(whole payloads.Desired, acked map[payloads.PropertyName]int64) (err error) {
	present := map[payloads.PropertyName]bool{}
	for _, p := range whole.Properties {
		present[p.Key()] = true
		if v := (desiredValue{p, whole.Version}); !d.isCurrent(v, acked) {
			err = cmp.Or(d.handle(v), err)
		}
	}
	for _, p := range d.removed(present) {
		err = cmp.Or(d.handle(desiredValue{p, whole.Version}), err)
	}
	return err
}

// isCurrent reports whether v has the value that the handler was given last or will be given next.
// If so, isCurrent stores the version of v, and makes the acknowledgement pending again if this hub
// lacks it. If the property is not known, a pending acknowledgement from before a restart gets the
// version of v.
func (d *desired) isCurrent(v desiredValue, acked map[payloads.PropertyName]int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.known.get(v.Key())
	if p == nil {
		d.reported.updateVersion(v)
		return false
	}
	if !payloads.SameJSON(p.value, v.Value) {
		return false
	}
	p.version = v.version
	if p.ack != nil && d.isUnacknowledged(v, acked) {
		*p.ack = p.ack.ForVersion(v.version)
		d.reported.acknowledge(payloads.AcknowledgedProperty{DesiredProperty: v.DesiredProperty, PropertyAck: *p.ack})
	}
	return true
}

// isUnacknowledged reports whether the hub lacks the acknowledgement of a value: the twin holds no
// acknowledgement, one for a version of another hub, or an older one while the newest is pending.
func (d *desired) isUnacknowledged(v desiredValue, acked map[payloads.PropertyName]int64) bool {
	version, ok := acked[v.Key()]
	return !ok || version > v.version || d.reported.hasPendingAck(v.Key())
}

// forgetAcks forgets the acknowledgements that a report of the program replaces. If such an
// acknowledgement were sent again, it would undo the report.
func (d *desired) forgetAcks(report map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, p := range d.known.all() {
		if replaces(report, key) {
			p.ack = nil
		}
	}
}

// removed returns the known properties that are not present any more, with the value null.
func (d *desired) removed(present map[payloads.PropertyName]bool) (all []payloads.DesiredProperty) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, p := range d.known.all() {
		if !present[key] && !isNull(p.value) {
			all = append(all, removal(key))
		}
	}
	return all
}

// handle runs the handler for a value, at once or after the run for the previous value. It refuses
// a value with which the known ones would exceed desiredLimit. Removing a known property is always
// allowed.
func (d *desired) handle(v desiredValue) error {
	d.mu.Lock()
	growth := len(v.Value)
	p := d.known.get(v.Key())
	known := p != nil
	if !known {
		p = &property{}
		growth += len(v.Component) + len(v.Name)
	}
	growth -= len(p.value)
	if removes := known && isNull(v.Value); !removes && growth > 0 && d.size+growth > desiredLimit {
		d.mu.Unlock()
		return errTooMuch
	}
	d.size += growth
	d.known.put(v.Key(), p)
	p.value, p.version, p.ack = bytes.Clone(v.Value), v.version, nil
	p.changed = p.running
	starts := !p.running
	p.running = true
	d.mu.Unlock()
	if starts {
		d.run(v)
	}
	return nil
}

func (d *desired) run(v desiredValue) {
	err := invoke(d.pool, noLimit, "desired "+v.Key().String(), func(ctx context.Context) (PropertyAck, error) {
		if d.handler == nil {
			return PropertyAck{Code: 404}, errors.New("this device has no such property")
		}
		a, err := d.handler(ctx, v.Key(), bytes.Clone(v.Value))
		if a.Value != nil {
			text, bad := payloads.Marshal(a.Value) // on a goroutine of the pool: Marshal may call the program's code
			a.Value, err = json.RawMessage(text), errors.Join(err, bad)
			if bad != nil {
				a.Value = nil
			}
		}
		return a, err
	}, func(a PropertyAck, err error) { d.acknowledge(v, a, err) }, func(PropertyAck, error) { d.next(v) })
	if err != nil {
		d.acknowledge(v, PropertyAck{Code: 503}, err)
		d.next(v)
	}
}

// acknowledge makes the acknowledgement of a value pending, shortened to what hubs accept. A
// property whose name no hub accepts cannot be acknowledged, and neither can the removal of one that
// another property has displaced: the twin has no place for both.
func (d *desired) acknowledge(v desiredValue, a PropertyAck, err error) {
	full, err := propertyAck(v, a, err)
	sent, left := payloads.AcknowledgedProperty{DesiredProperty: v.DesiredProperty, PropertyAck: full}.Fit()
	bad := payloads.CheckReported(payloads.PropertyAckPatch([]payloads.AcknowledgedProperty{sent}))
	d.mu.Lock()
	p := d.known.get(v.Key())
	if !p.changed {
		sent.PropertyAck = sent.ForVersion(p.version)
	}
	isDisplaced := isNull(v.Value) && len(d.known.displacedBy(v.Key())) > 0
	if bad == nil && !isDisplaced {
		d.reported.acknowledge(sent)
		if ack := sent.PropertyAck; !p.changed {
			p.ack = &ack
		}
	}
	d.mu.Unlock()
	d.emit(handled("desired "+v.Key().String(), sent.Code, errors.Join(err, left)))
}

// propertyAck turns a handler's result into an acknowledgement. It returns the handler's error,
// joined with another error if the handler's status is not between 100 and 599.
func propertyAck(v desiredValue, a PropertyAck, err error) (payloads.PropertyAck, error) {
	ack := payloads.PropertyAck{Value: v.Value, Code: a.Code, Description: a.Description}
	if value, ok := a.Value.(json.RawMessage); ok {
		ack.Value = value
	}
	switch {
	case ack.Code == 0:
		ack.Code = 200
	case ack.Code < 100 || ack.Code > 599:
		err = errors.Join(err, fmt.Errorf("the handler answered with %d, which is no status", ack.Code))
	}
	if err != nil {
		if ack.Code < 400 || ack.Code > 599 {
			ack.Code = 500
		}
		ack.Description = err.Error()
	}
	return ack.ForVersion(v.version), err
}

// next runs the handler again if the value changed during the last run. Otherwise it forgets the
// property if that was removed.
func (d *desired) next(v desiredValue) {
	d.mu.Lock()
	p := d.known.get(v.Key())
	p.running, p.changed = p.changed, false
	if !p.running && isNull(p.value) {
		d.known.remove(v.Key())
		d.size -= len(v.Component) + len(v.Name) + len(p.value)
	}
	runs := p.running
	v.Value, v.version = p.value, p.version
	d.mu.Unlock()
	if runs {
		d.run(v)
	}
}

func isNull(value json.RawMessage) bool { return string(value) == "null" }
