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

// Receipts reads receipts from a reader one after another, because there may be millions.
type Receipts struct {
	in      io.Reader
	err     error
	damaged uint64
}

// ReadReceipts returns the receipts in r, a sequence of JSON values such as the emulator's
// --ledger-file or the export of a real consumer. Each value, or each element of an array, is one
// message. The message ID may be wherever IoT Hub's routes and tools put it: under messageId,
// message_id, message-id, $.mid or iothub-message-id, in upper or lower case, in the value or in an
// object in the value. A value without a message ID counts as a message without an ID.
//
// A line with an incomplete value, which a full disk may leave, is damaged: it is skipped and
// counted. If a damaged line ends with a complete value, that value is a message. After the first
// damaged line, each message must be on a line of its own.
func ReadReceipts(r io.Reader) *Receipts { return &Receipts{in: r} }

// All returns the receipts up to the end of the input, or up to an error.
func (r *Receipts) All() iter.Seq[Receipt] {
	return func(yield func(Receipt) bool) {
		if rest, more := readValues(r.in, yield); more && rest != nil {
			r.err = r.readLines(bufio.NewReader(io.MultiReader(rest, r.in)), yield)
		}
	}
}

// Err returns the error that ended All before the end of the input.
func (r *Receipts) Err() error { return r.err }

// Damaged returns the number of damaged lines of which All has skipped a part or everything.
func (r *Receipts) Damaged() uint64 { return r.damaged }

// readValues yields the receipts in the JSON values of in, up to the end or an error. more reports
// whether the caller of the iterator wants more receipts. After an error, rest holds the bytes that
// were read and not decoded; otherwise rest is nil.
func readValues(in io.Reader, yield func(Receipt) bool) (rest io.Reader, more bool) {
	for d := json.NewDecoder(in); ; {
		var v any
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return nil, true
		case err != nil:
			return d.Buffered(), true
		}
		elements, isArray := v.([]any)
		if !isArray {
			elements = []any{v}
		}
		for _, e := range elements {
			if !yield(Receipt{find(e, "$.mid", "iothubmessageid", "messageid"), find(e, "failoverlane")}) {
				return nil, false
			}
		}
	}
}

// maxLine is the length in bytes to which nextLine cuts long lines. It is about four times the
// length of IoT Hub's largest message in base64 with its properties.
const maxLine = 4 << 20

func (r *Receipts) readLines(in *bufio.Reader, yield func(Receipt) bool) error {
	for {
		line, err := nextLine(in)
		if !r.readLine(line, yield) {
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

// nextLine reads a line, and keeps only about the first maxLine bytes of a longer line.
func nextLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(line) < maxLine {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// maxTries is the largest number of places in a damaged line at which readLine looks for a complete
// value.
const maxTries = 100

// readLine yields the receipts in a line, and reports whether the caller of the iterator wants
// more. In a damaged line, readLine also looks for a complete value at the end, which was written
// after the damage.
func (r *Receipts) readLine(line []byte, yield func(Receipt) bool) (more bool) {
	rest, more := readValues(bytes.NewReader(line), yield)
	if rest == nil {
		return more
	}
	r.damaged++
	text, _ := io.ReadAll(rest)
	for range maxTries {
		i := bytes.IndexByte(text[min(1, len(text)):], '{')
		if i < 0 {
			break
		}
		if text = text[1+i:]; json.Valid(text) {
			_, more = readValues(bytes.NewReader(text), yield)
			break
		}
	}
	return more
}

// withoutDashes removes dashes and underscores from a name, because IoT Hub's tools use them in
// different ways.
var withoutDashes = strings.NewReplacer("-", "", "_", "")

// find returns the text under the first of the names that v, a JSON object, contains. If v has none
// of the names, find searches the objects in v, except the body of the message. An application may
// name a property of its own messageId. So callers put names that only IoT Hub uses first, and find
// searches objects with system properties before other objects.
func find(v any, names ...string) string {
	object, _ := v.(map[string]any)
	keys := slices.Sorted(maps.Keys(object))
	for _, name := range names {
		for _, k := range keys {
			if text, ok := object[k].(string); ok && withoutDashes.Replace(strings.ToLower(k)) == name {
				return text
			}
		}
	}
	isSystem := func(key string) bool { return strings.HasPrefix(strings.ToLower(key), "system") }
	for _, system := range []bool{true, false} {
		for _, k := range keys {
			if isSystem(k) != system || slices.Contains([]string{"body", "payload", "telemetry"}, strings.ToLower(k)) {
				continue
			}
			if text := find(object[k], names...); text != "" {
				return text
			}
		}
	}
	return ""
}
