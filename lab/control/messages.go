package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"giantlizard.example/failover/lab/emulator"
)

// The types of a message's body in the stream.
const (
	jsonBody   = "json"   // the body is JSON, and the member body is that value
	textBody   = "text"   // the body is UTF-8, and the member body is a string
	base64Body = "base64" // the body is anything else, and the member body is a string in base64
)

// A messageView is a telemetry message as the stream shows it: what an Event Hubs consumer of a hub's
// built-in endpoint gets, and the cursor behind the message.
type messageView struct {
	Cursor           string            `json:"cursor"`
	Device           string            `json:"device"`
	Hub              string            `json:"hub"`
	Sequence         int64             `json:"sequence"`
	EnqueuedTime     string            `json:"enqueuedTime"`
	SystemProperties map[string]string `json:"systemProperties"`
	Properties       map[string]string `json:"properties"`
	BodyType         string            `json:"bodyType"`
	Body             any               `json:"body"`
}

// systemNames are the names that consumers see for the system properties that a device sets. Sources:
// azure-docs iot-hub/iot-hub-devguide-messages-construct.md and
// iot-hub/iot-hub-devguide-routing-query-syntax.md.
var systemNames = map[string]string{
	"$.mid": "message-id", "$.cid": "correlation-id", "$.uid": "user-id", "$.to": "to",
	"$.ct": "content-type", "$.ce": "content-encoding", "$.exp": "absolute-expiry-time", "$.ctime": "creation-time",
	"$.sub": "dt-subject", "$.ifid": "iothub-interface-id",
}

// authMethod is the value of iothub-connection-auth-method for a device with a symmetric key.
const authMethod = `{"scope":"device","type":"sas","issuer":"iothub"}`

func (s *Server) newMessageView(d emulator.Delivery) messageView {
	v := messageView{
		Cursor: s.cursor(d.Sequence), Device: d.Device, Hub: d.Hub, Sequence: d.Sequence,
		EnqueuedTime: timestamp(d.Received), Properties: map[string]string{},
		SystemProperties: map[string]string{
			"iothub-connection-device-id": d.Device, "iothub-connection-auth-method": authMethod,
			"iothub-enqueuedtime": timestamp(d.Received), "iothub-message-source": "Telemetry",
		},
	}
	if d.Model != "" {
		v.SystemProperties["dt-dataschema"] = d.Model
	}
	for name, value := range d.Properties {
		if known, is := systemNames[name]; is {
			v.SystemProperties[known] = value
		} else if strings.HasPrefix(name, "$.") {
			v.SystemProperties[name] = value
		} else {
			v.Properties[name] = value
		}
	}
	v.BodyType, v.Body = bodyOf(d)
	return v
}

// bodyOf returns the body of a message as a value for JSON, and its type. A content type or a content
// encoding that the device has set must fit.
func bodyOf(d emulator.Delivery) (kind string, body any) {
	encoding := d.Properties["$.ce"]
	switch {
	case !utf8.Valid(d.Body), encoding != "" && !strings.EqualFold(encoding, "utf-8"):
		return base64Body, d.Body // encoding/json writes bytes as base64
	case mayBeJSON(d.Properties["$.ct"]) && json.Valid(d.Body):
		return jsonBody, json.RawMessage(d.Body)
	}
	return textBody, string(d.Body)
}

func mayBeJSON(contentType string) bool {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	kind = strings.TrimSpace(kind)
	return kind == "" || kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// lineEnds are the characters that JSON allows in a string and that some programs take for the end of a
// line, with their escapes.
var lineEnds = strings.NewReplacer("\u0085", `\u0085`, "\u2028", `\u2028`, "\u2029", `\u2029`)

// encodeLine returns a value as JSON on one line, without a line end.
func encodeLine(v any) (string, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return "", fmt.Errorf("message: %w", err)
	}
	return lineEnds.Replace(strings.TrimSuffix(line.String(), "\n")), nil
}
