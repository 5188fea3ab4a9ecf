package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/textfile"
)

// maxLine bounds a line of standard input, in bytes. IoT Hub accepts messages of at most 256 KB.
const maxLine = 1 << 20

// stdinHelp is part of the help.
const stdinHelp = `With --stdin the device sends readings from standard input, one JSON value on each line. A line is
the body of a reading, or an object with "body" and optionally "time" (RFC 3339), "properties" (an
object of strings) and "component". An object with any other member is itself a body. A body is
delivered byte for byte. In an object with "body", a name that occurs twice, a property that is not
a string (such as null) and half of a surrogate pair (\ud800) are errors. A "time", "properties" or
"component" of null counts as left out. A time is kept to the millisecond. The input is UTF-8; a
byte-order mark at its beginning is ignored.

Standard output answers each line, in order: {"id":"8f3a1c02-17"} once the reading is accepted, or
{"line":3,"error":"…"}. An empty line is an error too. The next line is read after the answer, so a
writer that is faster than the disk has to wait. When the input ends, the device delivers all
pending readings and then ends.`

// A sender is the part of machine.Device that accepts readings.
type sender interface {
	Send(context.Context, machine.Reading) (outbox.ID, error)
}

// An answer is the line of standard output for one line of input.
type answer struct {
	ID    string `json:"id,omitempty"`
	Line  int    `json:"line,omitempty"`
	Error string `json:"error,omitempty"`
}

// feed sends each line of in as a reading and answers it on out, until the input or ctx ends. A
// blocked read continues in its goroutine after ctx ends, because only the end of the process can end
// that read.
func feed(ctx context.Context, in io.Reader, out io.Writer, to sender) error {
	done := make(chan error, 1)
	go func() { done <- feedAll(ctx, in, out, to) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return nil
	}
}

func feedAll(ctx context.Context, in io.Reader, out io.Writer, to sender) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	answers := json.NewEncoder(out)
	for n := 1; ; n++ {
		line, err := readLine(lines)
		var encoding error // the error for input that is not UTF-8; each line still gets an answer
		if n == 1 {
			line, encoding = textfile.Decode(line)
		}
		if errors.Is(err, io.EOF) && len(line) == 0 && encoding == nil {
			return nil
		}
		if failure := answers.Encode(answerTo(ctx, n, line, cmp.Or(encoding, err), to)); failure != nil {
			return fmt.Errorf("standard output: %w", failure)
		}
		switch {
		case errors.Is(err, io.EOF) || ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, errLongLine):
			return fmt.Errorf("standard input: %w", err)
		}
	}
}

func answerTo(ctx context.Context, n int, line []byte, err error, to sender) answer {
	var r machine.Reading
	if err == nil || errors.Is(err, io.EOF) {
		r, err = parseLine(bytes.TrimSpace(line))
	}
	var id outbox.ID
	if err == nil {
		id, err = to.Send(ctx, r)
	}
	if err != nil {
		return answer{Line: n, Error: err.Error()}
	}
	return answer{ID: id.String()}
}

var errEmptyLine = errors.New("the line is empty")

var errLongLine = fmt.Errorf("the line is longer than %d bytes; IoT Hub accepts messages of at most 256 KB", maxLine)

// readLine returns the next line with its line end. If a line is too long, readLine reads to
// the end of the line, discards the line and returns an error.
func readLine(lines *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := lines.ReadSlice('\n')
		long = long || len(line)+len(part) > maxLine
		if !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case long:
			return nil, errLongLine
		default:
			return line, err
		}
	}
}

// parseLine parses a line. An object that has "body" and no unknown member is an envelope; anything
// else is a body.
func parseLine(line []byte) (machine.Reading, error) {
	if len(line) == 0 {
		return machine.Reading{}, errEmptyLine
	}
	var names map[string]json.RawMessage
	// A line that is not UTF-8 is always a body, because package json would replace bytes by U+FFFD.
	if !utf8.Valid(line) || json.Unmarshal(line, &names) != nil || !isEnvelope(names) {
		return machine.Reading{Body: line}, nil // Send checks the body
	}
	members, err := payloads.ReadObject(line)
	if err != nil {
		return machine.Reading{}, err
	}
	r := machine.Reading{Body: members["body"]}
	if err := decodeText(members, "time", (*moment)(&r.Taken)); err != nil {
		return machine.Reading{}, err
	}
	if err := decodeText(members, "component", &r.Component); err != nil {
		return machine.Reading{}, err
	}
	r.Properties, err = parseProperties(members["properties"])
	return r, err
}

// decodeText decodes a member that is a string, unless it is null or missing.
func decodeText(members map[string]json.RawMessage, name string, into any) error {
	raw, ok := members[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	if raw[0] != '"' {
		return fmt.Errorf("%.80q is not a string: %.80s", name, raw)
	}
	err := payloads.CheckJSON(raw)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("%.80q: %w", name, err)
	}
	return nil
}

func parseProperties(raw json.RawMessage) (map[string]string, error) {
	if raw == nil || string(raw) == "null" {
		return nil, nil
	}
	members, err := payloads.ReadObject(raw)
	if err != nil {
		return nil, fmt.Errorf("the reading's properties: %w", err)
	}
	properties := map[string]string{}
	for name := range members {
		var value string
		if err := decodeText(members, name, &value); err != nil {
			return nil, fmt.Errorf("the reading's properties: %w", err)
		}
		if string(members[name]) == "null" {
			return nil, fmt.Errorf("the reading's properties: %.80q is null: "+
				`leave it out, or set it to "" for an empty value`, name)
		}
		properties[name] = value
	}
	return properties, nil
}

func isEnvelope(members map[string]json.RawMessage) bool {
	if _, ok := members["body"]; !ok {
		return false
	}
	for name := range members {
		switch name {
		case "body", "time", "properties", "component":
		default:
			return false
		}
	}
	return true
}
