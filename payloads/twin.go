package payloads

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TwinAnswerFilter is the subscription for answers to twin requests, DesiredFilter the one for changes
// of desired properties. Changes made while a device is offline are never sent later: read the twin.
const (
	TwinAnswerFilter = "$iothub/twin/res/#"
	DesiredFilter    = "$iothub/twin/PATCH/properties/desired/#"
)

// What the topics of twin answers and of changes of desired properties begin with.
const (
	TwinAnswerPrefix = "$iothub/twin/res/"
	DesiredPrefix    = "$iothub/twin/PATCH/properties/desired/"
)

// TwinGetTopic is the topic that asks for the whole twin, with an empty body.
func TwinGetTopic(requestID string) string {
	return "$iothub/twin/GET/?$rid=" + escape(requestID)
}

// ReportTopic is the topic that sends a patch of reported properties.
func ReportTopic(requestID string) string {
	return "$iothub/twin/PATCH/properties/reported/?$rid=" + escape(requestID)
}

// A PropertyName names a property of a component, or of the device itself where Component is "".
type PropertyName struct{ Component, Name string }

// String names the property as methods name a command, for people: "name", or "component*name". It is no key: a name
// may hold a star, so two properties can have the same String.
func (n PropertyName) String() string {
	if n.Component == "" {
		return n.Name
	}
	return n.Component + "*" + n.Name
}

// Compare orders properties by component, then name.
func (n PropertyName) Compare(other PropertyName) int {
	return cmp.Or(cmp.Compare(n.Component, other.Component), cmp.Compare(n.Name, other.Name))
}

// A DesiredProperty is one value that the cloud wishes. Value is `null` where it wishes none.
type DesiredProperty struct {
	Component, Name string // the component is "" for the root
	Value           json.RawMessage
}

// Key is the property's name.
func (p DesiredProperty) Key() PropertyName { return PropertyName{p.Component, p.Name} }

// Desired is the desired section of a twin, or a patch of it. Versions compare within one hub only: a
// device that was moved may see a lower one.
type Desired struct {
	Version    int64
	Properties []DesiredProperty // sorted by component, then name
}

// A Twin is the device twin as the device may see it.
type Twin struct {
	Desired  Desired
	Reported json.RawMessage // an object, or nil
}

// AcknowledgedVersions are the versions that the reported section's answers to desired properties name, by the properties' names.
func (t Twin) AcknowledgedVersions() map[PropertyName]int64 {
	versions := map[PropertyName]int64{}
	note := func(p DesiredProperty) {
		var code, version *int64
		err := decodeMembers(p.Value, map[string]any{"ac": &code, "av": &version})
		if err == nil && code != nil && version != nil {
			versions[p.Key()] = *version
		}
	}
	reported, _ := ReadObject(t.Reported)
	for name, value := range reported {
		component, ok, _ := readComponent(value)
		if !ok {
			note(DesiredProperty{Name: name, Value: value})
		}
		for inner, value := range component {
			note(DesiredProperty{Component: name, Name: inner, Value: value})
		}
	}
	return versions
}

// ParseTwin reads the body that answers a request for the twin. A section or a component in which a name stands
// twice, or cannot be kept, is an error; the values of properties are kept as they are.
func ParseTwin(body []byte) (Twin, error) {
	top, err := ReadObject(body)
	if err != nil {
		return Twin{}, fmt.Errorf("payloads: twin: %w", err)
	}
	t := Twin{Reported: top["reported"]}
	desired, version, err := readDesired(top["desired"])
	if err != nil {
		return Twin{}, fmt.Errorf("payloads: twin: desired: %w", err)
	}
	if version == nil {
		return Twin{}, errors.New("payloads: twin: desired: no $version")
	}
	desired.Version = *version
	if isNull(t.Reported) {
		t.Reported = nil
	} else if t.Reported[0] != '{' {
		return Twin{}, errors.New("payloads: twin: reported: not an object")
	}
	return Twin{Desired: desired, Reported: t.Reported}, nil
}

// ParseDesired reads a change of desired properties: a patch, whose $version stands in the topic, in
// the body, or in both. It will be merged, so a text that cannot be decoded without a change is an error.
func ParseDesired(topic string, body []byte) (Desired, error) {
	rest, ok := strings.CutPrefix(topic, DesiredPrefix)
	if !ok || rest != "" && rest[0] != '?' {
		return Desired{}, fmt.Errorf("payloads: desired: topic %.80q is not %s?$version={n}", topic, DesiredPrefix)
	}
	query, err := parseBag(strings.TrimPrefix(rest, "?"))
	if err != nil {
		return Desired{}, fmt.Errorf("payloads: desired: %w", err)
	}
	fromTopic, err := versionOf(query)
	if err != nil {
		return Desired{}, fmt.Errorf("payloads: desired: %w", err)
	}
	d, fromBody, err := readDesired(body)
	if err == nil {
		err = CheckJSON(body)
	}
	switch {
	case err != nil:
		return Desired{}, fmt.Errorf("payloads: desired: %w", err)
	case fromTopic == nil && fromBody == nil:
		return Desired{}, errors.New("payloads: desired: no $version")
	case fromTopic != nil && fromBody != nil && *fromTopic != *fromBody:
		return Desired{}, fmt.Errorf("payloads: desired: $version is %d in the topic and %d in the body",
			*fromTopic, *fromBody)
	}
	d.Version = *cmp.Or(fromTopic, fromBody)
	return d, nil
}

// A TwinAnswer answers a request for the twin (200, the twin in Body), or a report (204).
type TwinAnswer struct {
	Status     int
	RequestID  string
	Version    int64 // of the reported properties, 0 when absent
	RetryAfter time.Duration
	Body       []byte

	// What an error answer's body says, as far as it can be read.
	Code                int
	Message, TrackingID string

	BadProperties error // names what could not be read of the topic's properties; nil: nothing
}

// ParseTwinAnswer reads an answer to a twin request. An error answer with an empty or unreadable body is
// no error here: its Status says it all.
func ParseTwinAnswer(topic string, body []byte) (TwinAnswer, error) {
	a, err := parseAnswer(TwinAnswerPrefix, topic)
	if err != nil {
		return TwinAnswer{}, fmt.Errorf("payloads: twin answer: %w", err)
	}
	t := TwinAnswer{
		Status: a.status, RequestID: a.requestID, RetryAfter: a.retryAfter, Body: bytes.Clone(body), BadProperties: a.bad,
	}
	switch version, err := versionOf(a.query); {
	case err != nil:
		t.BadProperties = cmp.Or(t.BadProperties, err)
	case version != nil:
		t.Version = *version
	}
	if t.Status >= 300 {
		var number json.Number
		_ = decodeMembers(body, map[string]any{"errorCode": &number, "message": &t.Message, "trackingId": &t.TrackingID})
		t.Code = code(number)
	}
	return t, nil
}

// versionOf reads a topic's $version, nil when there is none.
func versionOf(query Bag) (*int64, error) {
	text, ok := query.Get("$version")
	if !ok {
		return nil, nil
	}
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil || version < 0 {
		return nil, fmt.Errorf("$version %.80q in the topic is not a version", text)
	}
	return &version, nil
}

// readDesired reads the properties and, apart from them, the version, which stands at the top or, as
// some documents show it, inside a component.
func readDesired(body []byte) (Desired, *int64, error) {
	if isNull(body) {
		return Desired{}, nil, errors.New("missing or null")
	}
	top, err := ReadObject(body)
	if err != nil {
		return Desired{}, nil, err
	}
	version, err := readVersion(top)
	if err != nil {
		return Desired{}, nil, err
	}
	var d Desired
	var inside *int64
	for name, value := range top {
		component, ok, err := readComponent(value)
		switch {
		case isMarker(name):
		case err != nil:
			return Desired{}, nil, fmt.Errorf("component %.80q: %w", name, err)
		case !ok:
			d.Properties = append(d.Properties, DesiredProperty{Name: name, Value: value})
		default:
			v, err := readVersion(component)
			if err != nil {
				return Desired{}, nil, fmt.Errorf("component %.80q: %w", name, err)
			}
			if v != nil && inside != nil && *v != *inside {
				return Desired{}, nil, errors.New("components disagree about $version")
			}
			inside = cmp.Or(v, inside)
			d.addComponent(name, component)
		}
	}
	slices.SortFunc(d.Properties, func(a, b DesiredProperty) int { return a.Key().Compare(b.Key()) })
	return d, cmp.Or(version, inside), nil
}

func (d *Desired) addComponent(name string, component map[string]json.RawMessage) {
	for inner, value := range component {
		if !isMarker(inner) {
			d.Properties = append(d.Properties, DesiredProperty{name, inner, value})
		}
	}
}

// readComponent reads an object marked as a component; any other value is a property's, whole. The error is of a
// component.
func readComponent(value json.RawMessage) (component map[string]json.RawMessage, ok bool, err error) {
	var marked map[string]json.RawMessage
	var marker string
	if json.Unmarshal(value, &marked) != nil || json.Unmarshal(marked["__t"], &marker) != nil || marker != "c" {
		return nil, false, nil
	}
	component, err = ReadObject(value)
	return component, err == nil, err
}

func readVersion(object map[string]json.RawMessage) (*int64, error) {
	raw, ok := object["$version"]
	if !ok {
		return nil, nil
	}
	var version *int64
	if err := json.Unmarshal(raw, &version); err != nil || version == nil || *version < 0 {
		return nil, fmt.Errorf("$version %.80q in the body is not a version", raw)
	}
	return version, nil
}

// isMarker says that a key is the service's or the convention's own and names no property.
func isMarker(key string) bool {
	return strings.HasPrefix(key, "$") || key == "__t"
}
