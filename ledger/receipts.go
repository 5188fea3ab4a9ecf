package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ReadReceipts reads JSON values, one behind the other: the emulator's --ledger-file, or an export of a real consumer. In each the
// message ID is looked for where IoT Hub's routes and tools put it: messageId, message_id, message-id, $.mid or
// iothub-message-id, in any case, at the top or in the objects below. A value without one counts as a message without an ID.
func ReadReceipts(r io.Reader) (all []Receipt, err error) {
	d := json.NewDecoder(r)
	for n := 1; ; n++ {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("ledger: message %d: %w", n, err)
		}
		list, isList := v.([]any)
		if !isList {
			list = []any{v}
		}
		for _, m := range list {
			all = append(all, Receipt{find(m, "messageid", "$.mid", "iothubmessageid"), find(m, "failoverlane")})
		}
	}
}

// spelling is a name without what the tools disagree about.
var spelling = strings.NewReplacer("-", "", "_", "")

// find looks in an object first, and then in those below it that are not the message's body.
func find(v any, names ...string) string {
	object, _ := v.(map[string]any)
	for k, v := range object {
		for _, name := range names {
			if text, ok := v.(string); ok && spelling.Replace(strings.ToLower(k)) == name {
				return text
			}
		}
	}
	for k, v := range object {
		switch strings.ToLower(k) {
		case "body", "payload", "telemetry":
			continue
		}
		if text := find(v, names...); text != "" {
			return text
		}
	}
	return ""
}
