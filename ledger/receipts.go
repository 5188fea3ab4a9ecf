package ledger

import (
	"bufio"
	"bytes"
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
	in      io.Reader
	err     error
	damaged uint64
}

// ReadReceipts reads JSON values, one behind the other: the emulator's --ledger-file, or an export of a real consumer. In each the
// message ID is looked for where IoT Hub's routes and tools put it: messageId, message_id, message-id, $.mid or
// iothub-message-id, in any case, at the top or in the objects below. A value without one counts as a message without an ID.
//
// A line of which no value can be read, as a full disk leaves it, is skipped and counted; if a whole value ends it, that counts as
// a message. From the first such line on, each message must be on a line of its own.
func ReadReceipts(r io.Reader) *Receipts { return &Receipts{in: r} }

// All are the receipts up to the end of the input, or up to an error.
func (r *Receipts) All() iter.Seq[Receipt] {
	return func(yield func(Receipt) bool) {
		d := json.NewDecoder(r.in)
		rest, stopped := values(d, yield)
		if rest == nil || stopped {
			return
		}
		r.err = r.lines(bufio.NewReader(io.MultiReader(rest, r.in)), yield)
	}
}

// Err is what ended All before the end of the input.
func (r *Receipts) Err() error { return r.err }

// Damaged is how many lines All has skipped, in part or as a whole.
func (r *Receipts) Damaged() uint64 { return r.damaged }

// values hands on what a decoder reads until the end, an error, or until no more are wanted. After an error rest is what the decoder
// has read and not understood.
func values(d *json.Decoder, yield func(Receipt) bool) (rest io.Reader, stopped bool) {
	for {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return nil, false
		} else if err != nil {
			return d.Buffered(), false
		}
		list, isList := v.([]any)
		if !isList {
			list = []any{v}
		}
		for _, m := range list {
			if !yield(Receipt{find(m, "$.mid", "iothubmessageid", "messageid"), find(m, "failoverlane")}) {
				return nil, true
			}
		}
	}
}

// longestLine bounds what is kept of one line: four times the largest message of IoT Hub, in base64 and with its properties.
const longestLine = 4 << 20

// lines reads one line after another.
func (r *Receipts) lines(in *bufio.Reader, yield func(Receipt) bool) error {
	for {
		line, err := readLine(in)
		if len(bytes.TrimSpace(line)) > 0 && !r.line(line, yield) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
}

// readLine reads a line, of which it keeps the beginning if it is too long.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(line) < longestLine {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// tries is in how many places of a damaged line a whole value is looked for.
const tries = 100

// line hands on the values of a line, and reports whether more are wanted.
func (r *Receipts) line(line []byte, yield func(Receipt) bool) bool {
	rest, stopped := values(json.NewDecoder(bytes.NewReader(line)), yield)
	if rest == nil || stopped {
		return !stopped
	}
	r.damaged++
	text, _ := io.ReadAll(rest)
	for range tries { // what was written behind half a line
		i := bytes.IndexByte(text[min(1, len(text)):], '{')
		if i < 0 {
			break
		}
		if text = text[1+i:]; json.Valid(text) {
			_, stopped = values(json.NewDecoder(bytes.NewReader(text)), yield)
			break
		}
	}
	return !stopped
}

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
