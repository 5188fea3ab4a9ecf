package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// A section holds the desired or the reported properties of a twin. Numbers keep their text, as
// json.Number.
type section struct {
	properties map[string]any // a change replaces the map and never modifies it
	version    int
	metadata   Metadata
}

type twin struct {
	desired, reported section
	tags              map[string]any // a change replaces the map; a device does not see its tags
	tagsVersion       int            // the number of changes of the tags
}

func newTwin() twin {
	empty := section{map[string]any{}, 1, Metadata{Updated: time.Now(), Version: 1}}
	return twin{desired: empty, reported: empty, tags: map[string]any{}}
}

// patch merges a checked patch into the section; null deletes a property. If the result would be too
// large, patch returns an error and changes nothing.
func (s *section) patch(patch map[string]any) error {
	merged := merge(s.properties, patch)
	if size := sizeOfJSON(merged); size > maximumSection {
		return refuse(refuseTwinSize, "the properties would count %d bytes, and the limit is %d", size, maximumSection)
	}
	s.properties = merged
	s.version++
	s.metadata = s.metadata.merge(patch, time.Now(), s.version)
	return nil
}

// merge returns the merged map and changes neither argument.
func merge(old, patch map[string]any) map[string]any {
	merged := make(map[string]any, len(old)+len(patch))
	for name, value := range old {
		merged[name] = value
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(merged, name)
		case map[string]any:
			before, _ := merged[name].(map[string]any)
			merged[name] = merge(before, value)
		default:
			merged[name] = value
		}
	}
	return merged
}

// withVersion returns properties with $version, as a device receives them.
func withVersion(properties map[string]any, version int) map[string]any {
	all := make(map[string]any, len(properties)+1)
	for name, value := range properties {
		all[name] = value
	}
	all["$version"] = version
	return all
}

// decodeObject decodes text that is exactly one JSON object in UTF-8.
func decodeObject(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, refuse(refuseTwinJSON, "the text is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil || object == nil {
		return nil, refuse(refuseTwinJSON, "the text is not a JSON object")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, refuse(refuseTwinJSON, "the text continues after the JSON object")
	}
	return object, nil
}

// Twin returns copies of a device's desired and reported properties, and their versions. Numbers
// are float64.
func (c *Cloud) Twin(deviceID string) (desired, reported map[string]any, desiredVersion, reportedVersion int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[deviceID]
	if d == nil {
		return nil, nil, 0, 0
	}
	t := d.twin
	return plain(t.desired.properties), plain(t.reported.properties), t.desired.version, t.reported.version
}

func plain(properties map[string]any) map[string]any {
	return plainValue(properties).(map[string]any)
}

// plainValue copies a value and converts its numbers to float64. A number that float64 cannot hold
// stays a json.Number.
func plainValue(value any) any {
	switch value := value.(type) {
	case map[string]any:
		copied := make(map[string]any, len(value))
		for name, element := range value {
			copied[name] = plainValue(element)
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for i, element := range value {
			copied[i] = plainValue(element)
		}
		return copied
	case json.Number:
		if f, err := value.Float64(); err == nil {
			return f
		}
	}
	return value
}

// SetDesired merges a patch into a device's desired properties; nil deletes a property. The hub
// sends the patch if the device is connected and has subscribed. Otherwise the device learns of the
// change only by reading its twin.
func (c *Cloud) SetDesired(deviceID string, patch map[string]any) error {
	text, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("emulator: desired properties: %w", err)
	}
	if !isText(patch) {
		return errors.New("emulator: desired properties: a string is not UTF-8")
	}
	var notes []string
	checked, err := decodeObject(text)
	if err == nil {
		notes, err = checkPatch(checked)
	}
	if err != nil {
		return fmt.Errorf("emulator: desired properties: %w", err)
	}
	c.mu.Lock()
	defer c.unlock()
	d, err := c.device(deviceID)
	if err != nil {
		return err
	}
	if err := d.patchDesired(checked, notes); err != nil {
		return fmt.Errorf("emulator: desired properties: %w", err)
	}
	return nil
}

// patchDesired merges a checked patch into the desired properties and sends it to the device. It is
// called with c.mu held.
func (d *device) patchDesired(patch map[string]any, notes []string) error {
	desired := &d.twin.desired
	if err := desired.patch(patch); err != nil {
		return err
	}
	d.cloud.emit(KindTwin, "", d.id, "desired properties have version %d", desired.version)
	for _, what := range notes {
		d.cloud.note("", d.id, "was given desired properties with "+what)
	}
	if s := d.session(); s != nil {
		s.sendDesired(patch, desired.version)
	}
	return nil
}

func (s *session) answerTwinGet(query string) error {
	rid := rawRID(query)
	if rid == "" {
		return s.violation(refuseTopic, "asked for its twin without a $rid")
	}
	if s.answerTwinFault(rid) {
		return nil
	}
	// The twin is read when the answer is sent, so that no desired patch overtakes it.
	s.answerTwin(func() {
		t := s.device.twin
		s.sendTwinAnswer("200/?$rid="+rid, map[string]any{
			"desired":  withVersion(t.desired.properties, t.desired.version),
			"reported": withVersion(t.reported.properties, t.reported.version),
		})
		s.hub.cloud.emit(KindTwin, s.hub.name, s.device.id, "read")
	})
	return nil
}

func (s *session) answerReported(query string, body []byte) error {
	rid, c := rawRID(query), s.hub.cloud
	if rid == "" {
		return s.violation(refuseTopic, "reported properties without a $rid")
	}
	if s.answerTwinFault(rid) {
		return nil
	}
	var notes []string
	patch, err := decodeObject(body)
	if err == nil {
		notes, err = checkPatch(patch)
	}
	if err == nil {
		err = s.device.twin.reported.patch(patch)
	}
	if err != nil {
		s.refuseReported(rid, err)
		return nil
	}
	if CheckJSON(body) != nil {
		notes = append(notes, changedJSON)
	}
	version := s.device.twin.reported.version
	c.emit(KindTwin, s.hub.name, s.device.id, "reported properties have version %d", version)
	for _, what := range notes {
		s.note("reported properties with " + what)
	}
	s.answerTwin(func() { s.sendTwinAnswer(fmt.Sprintf("204/?$rid=%s&$version=%d", rid, version), nil) })
	return nil
}

func (s *session) refuseReported(rid string, err error) {
	status, code := 400, 400004
	if refusalOf(err) == refuseTwinSize {
		status, code = 413, 413001
	}
	_ = s.violation(refusalOf(err), "reported properties that break a rule: %v", err)
	s.answerTwinError(status, code, rid, err.Error())
}

// answerTwin sends an answer after Config.AnswerDelay.
func (s *session) answerTwin(send func()) { s.answers.after(s.hub.cloud.config.AnswerDelay, send) }

// sendTwinAnswer sends an answer, if the device has subscribed to twin answers.
func (s *session) sendTwinAnswer(topic string, body map[string]any) {
	if _, subscribed := s.filters[twinFilter]; subscribed {
		s.sendJSON(twinReply+topic, body)
	}
}

// sendJSON publishes the body as JSON at QoS 0. Nil means an empty message.
func (s *session) sendJSON(topic string, body map[string]any) {
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body) // cannot fail, because the body was decoded from JSON
	}
	s.conn.send(publication{topic: topic, payload: text})
}
