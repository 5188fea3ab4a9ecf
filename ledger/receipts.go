package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Receipts reads what hubs received, one message after another: there may be millions.
type Receipts struct {
	in  io.Reader
	err error
}

// ReadReceipts reads JSON values, one behind the other: the emulator's --ledger-file, or an export of a real consumer. In each the
// message ID is looked for where IoT Hub's routes and tools put it: messageId, message_id, message-id, $.mid or
// iothub-message-id, in any case, at the top or in the objects below. A value without one counts as a message without an ID.
func ReadReceipts(r io.Reader) *Receipts { return &Receipts{in: r} }

// All are the receipts up to the end of the input, or up to an error.
func (r *Receipts) All() iter.Seq[Receipt] {
	return func(yield func(Receipt) bool) {
		d := json.NewDecoder(r.in)
		for n := 1; ; n++ {
			var v any
			if err := d.Decode(&v); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				r.err = fmt.Errorf("ledger: message %d: %w", n, err)
				return
			}
			list, isList := v.([]any)
			if !isList {
				list = []any{v}
			}
			for _, m := range list {
				if !yield(Receipt{find(m, "$.mid", "iothubmessageid", "messageid"), find(m, "failoverlane")}) {
					return
				}
			}
		}
	}
}

// Err is what ended All before the end of the input.
func (r *Receipts) Err() error { return r.err }

// spelling is a name without what the tools disagree about.
var spelling = strings.NewReplacer("-", "", "_", "")

// find looks in an object first, and then in those below it that are not the message's body. A program may call a property of
// its own messageId, so the names that only IoT Hub may give come first, and its system properties before the others.
func find(v any, names ...string) string {
	object, _ := v.(map[string]any)
	keys := slices.Sorted(maps.Keys(object))
	for _, name := range names {
		for _, k := range keys {
			if text, ok := object[k].(string); ok && spelling.Replace(strings.ToLower(k)) == name {
				return text
			}
		}
	}
	slices.SortStableFunc(keys, func(a, b string) int { return systemFirst(a) - systemFirst(b) })
	for _, k := range keys {
		switch strings.ToLower(k) {
		case "body", "payload", "telemetry":
			continue
		}
		if text := find(object[k], names...); text != "" {
			return text
		}
	}
	return ""
}

func systemFirst(key string) int {
	if strings.HasPrefix(strings.ToLower(key), "system") {
		return 0
	}
	return 1
}
