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

// TwinAnswerFilter is the subscription for answers to twin requests, and DesiredFilter is the
// subscription for changes of desired properties. The prefixes are the beginnings of their topics.
// A hub never sends a change that was made while the device was offline: read the twin to learn of
// it. Source of all topics of the twin: azure-docs iot/iot-mqtt-connect-to-iot-hub.md.
const (
	TwinAnswerFilter = TwinAnswerPrefix + "#"
	DesiredFilter    = DesiredPrefix + "#"
	TwinAnswerPrefix = "$iothub/twin/res/"
	DesiredPrefix    = "$iothub/twin/PATCH/properties/desired/"
)

// TwinGetTopic returns the topic of a request for the whole twin. The request has no body.
func TwinGetTopic(requestID string) string { return "$iothub/twin/GET/?$rid=" + escape(requestID) }

// ReportTopic returns the topic of a patch of reported properties.
func ReportTopic(requestID string) string {
	return "$iothub/twin/PATCH/properties/reported/?$rid=" + escape(requestID)
}

// A PropertyName names a property of a component of the model, or of the root if Component is "".
type PropertyName struct{ Component, Name string }

// String returns "name" or "component*name", as commands are named. It is for people and not
// unique: a name may hold a star.
func (n PropertyName) String() string {
	if n.Component == "" {
		return n.Name
	}
	return n.Component + "*" + n.Name
}

// Compare orders names by component, then name.
func (n PropertyName) Compare(other PropertyName) int {
	return cmp.Or(cmp.Compare(n.Component, other.Component), cmp.Compare(n.Name, other.Name))
}

// A DesiredProperty is one property with its desired value.
type DesiredProperty struct {
	Component, Name string          // the component is "" for the root
	Value           json.RawMessage // null if the cloud desires no value
}

// Key returns the property's name.
func (p DesiredProperty) Key() PropertyName { return PropertyName{p.Component, p.Name} }

// Desired is the desired section of a twin, or a patch of it. Versions of different hubs cannot be
// compared: a device that was moved may see a lower version.
type Desired struct {
	Version    int64
	Properties []DesiredProperty // in the order of their names
}

// A Twin is the part of a device twin that the device can read.
type Twin struct {
	Desired  Desired
	Reported json.RawMessage // the reported section, a JSON object; nil means that it is missing
}

// AcknowledgedVersions returns, for each property with an acknowledgement in the reported section,
// the version that is acknowledged.
func (t Twin) AcknowledgedVersions() map[PropertyName]int64 {
	versions := map[PropertyName]int64{}
	note := func(name PropertyName, value json.RawMessage) {
		var code, version *int64
		err := decodeMembers(value, map[string]any{"ac": &code, "av": &version})
		if err == nil && code != nil && version != nil {
			versions[name] = *version
		}
	}
	reported, _ := ReadObject(t.Reported)
	for name, value := range reported {
		component, ok, _ := readComponent(value)
		if !ok {
			note(PropertyName{Name: name}, value)
		}
		for inner, value := range component {
			note(PropertyName{name, inner}, value)
		}
	}
	return versions
}

// ParseTwin reads the body of the answer to a request for the twin. It returns an error if a
// section or a component has a name twice, or a name that decoding would change. It keeps the
// values of properties as they are.
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

// ParseDesired reads a change of desired properties: a patch, with its $version in the topic, in
// the body, or in both. It returns an error if decoding would change the patch, because the patch
// will be merged.
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

// A TwinAnswer is the hub's answer to a request for the twin (status 200, the twin in Body) or to a
// patch of reported properties (status 204). A zero field means that the answer does not have it.
type TwinAnswer struct {
	Status     int // status code as in HTTP
	RequestID  string
	Version    int64 // version of the reported properties
	RetryAfter time.Duration
	Body       []byte

	// These fields come from the body of an error answer, as far as the body can be read.
	Code                int
	Message, TrackingID string

	BadProperties error // names the properties of the topic that could not be read; nil means that all were read
}

// ParseTwinAnswer reads an answer to a twin request. If the body of an error answer is empty or
// cannot be read, the Status is enough, and there is no error.
func ParseTwinAnswer(topic string, body []byte) (TwinAnswer, error) {
	a, err := parseAnswer(TwinAnswerPrefix, topic)
	if err != nil {
		return TwinAnswer{}, fmt.Errorf("payloads: twin answer: %w", err)
	}
	t := TwinAnswer{
		Status: a.status, RequestID: a.requestID, RetryAfter: a.retryAfter, Body: bytes.Clone(body),
		BadProperties: a.bad,
	}
	switch version, err := versionOf(a.query); {
	case err != nil:
		t.BadProperties = cmp.Or(t.BadProperties, err)
	case version != nil:
		t.Version = *version
	}
	if t.Status >= 300 {
		var number json.Number
		_ = decodeMembers(body,
			map[string]any{"errorCode": &number, "message": &t.Message, "trackingId": &t.TrackingID})
		t.Code = errorCode(number)
	}
	return t, nil
}

// versionOf returns the $version of a topic, or nil if there is none.
func versionOf(query bag) (*int64, error) {
	text, ok := query.get("$version")
	if !ok {
		return nil, nil
	}
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil || version < 0 {
		return nil, fmt.Errorf("$version %.80q in the topic is not a version", text)
	}
	return &version, nil
}

// readDesired returns the desired properties, and their version or nil. The version stands at the
// top, or in a component, as in azure-docs iot-develop/concepts-convention.md.
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
			continue
		case err == nil && !ok:
			d.Properties = append(d.Properties, DesiredProperty{Name: name, Value: value})
			continue
		}
		var v *int64
		if err == nil {
			v, err = readVersion(component)
		}
		if err != nil {
			return Desired{}, nil, fmt.Errorf("component %.80q: %w", name, err)
		}
		if v != nil && inside != nil && *v != *inside {
			return Desired{}, nil, errors.New("components disagree about $version")
		}
		inside = cmp.Or(v, inside)
		for inner, value := range component {
			if !isMarker(inner) {
				d.Properties = append(d.Properties, DesiredProperty{name, inner, value})
			}
		}
	}
	slices.SortFunc(d.Properties, func(a, b DesiredProperty) int { return a.Key().Compare(b.Key()) })
	return d, cmp.Or(version, inside), nil
}

// readComponent reads an object that is marked as a component. For any other value ok is false, and
// there is no error.
func readComponent(value json.RawMessage) (component map[string]json.RawMessage, ok bool, err error) {
	var marked map[string]json.RawMessage
	var marker string
	if json.Unmarshal(value, &marked) != nil || json.Unmarshal(marked[ComponentMarker], &marker) != nil ||
		marker != "c" {
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

// isMarker reports whether a key belongs to the service or to the convention for components, and
// names no property.
func isMarker(key string) bool {
	return strings.HasPrefix(key, "$") || key == ComponentMarker
}
