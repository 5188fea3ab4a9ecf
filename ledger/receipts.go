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

// Receipts reads receipts one after another, because there may be millions.
type Receipts struct {
	in      io.Reader
	err     error
	damaged uint64
}

// ReadReceipts returns the receipts in JSON values that follow one another: the emulator's
// --ledger-file, or an export of a real consumer. An array is read as its elements. In each value,
// the message ID may be where IoT Hub's routes and tools put it: messageId, message_id, message-id,
// $.mid or iothub-message-id, in any case, in the value or in an object in it. A value without one
// is a message without an ID.
//
// A line without a whole value, as a full disk leaves it, is skipped and counted. If a whole value
// ends such a line, it is a message. After the first such line, each message must be on a line of
// its own.
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

// Damaged returns the number of lines that All has skipped, in part or as a whole.
func (r *Receipts) Damaged() uint64 { return r.damaged }

// readValues yields the receipts in JSON values up to the end or an error, and reports whether the
// caller wants more. After an error, rest is what was read and not decoded.
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

// maxLine bounds what is kept of one line, in bytes. It is about four times what the largest message of
// IoT Hub takes in base64 with its properties.
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

// nextLine reads a line, and keeps only the beginning of a line that is too long.
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

// maxTries is the number of places in a damaged line where readLine looks for a whole value.
const maxTries = 100

// readLine yields the receipts in a line, and reports whether the caller wants more. If the line is
// damaged, a whole value at its end was written after the damage.
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

// withoutDashes removes from a name what IoT Hub's tools write in different ways.
var withoutDashes = strings.NewReplacer("-", "", "_", "")

// find returns the text under the first of the names that an object has, or else an object in it
// that is not the body of the message. An application may call its own property messageId, so names
// that only IoT Hub gives come first, and objects with its system properties come before others.
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
