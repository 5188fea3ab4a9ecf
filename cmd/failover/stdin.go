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

// maxLine is the longest line of standard input, in bytes: more than the largest reading that IoT Hub takes.
const maxLine = 1 << 20

// stdinHelp is part of the help.
const stdinHelp = `With --stdin the readings come from standard input, one JSON value a line, and nothing is made up: a line is the body of a
reading, or an object with "body" and, if wanted, "time" (RFC 3339), "properties" (an object of strings) and "component".
An object with any other member is itself a body. A body is delivered byte for byte. In the other members nothing is
changed in silence: a name that stands twice, a property that is no string (null is none either) and half of a
surrogate pair (\ud800) are refused. A "time", "properties" or "component" that is null counts as left out. A time is
kept to the millisecond.
Standard output answers each line, in order: {"id":"8f3a1c02-17"} once the reading is accepted, else {"line":3,"error":"…"}; an
empty line is no reading and gets an error too. The input is UTF-8; a byte-order mark at its beginning is left out.
The next line is read after the answer, so whoever writes faster than readings are kept has to wait. When the input ends, the
device goes on until every reading is delivered, and ends.`

// A sender takes readings.
type sender interface {
	Send(context.Context, machine.Reading) (outbox.ID, error)
}

// An answer is what standard output says to one line.
type answer struct {
	ID    string `json:"id,omitempty"`
	Line  int    `json:"line,omitempty"`
	Error string `json:"error,omitempty"`
}

// feed sends each line of in as a reading and answers it on out, until the input or ctx ends. A read that blocks is left
// behind when ctx ends: nothing can end it but the process.
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
		var encoding error // of the input, if it is none that we read; the lines behind are answered all the same
		if n == 1 {
			line, encoding = textfile.Decode(line)
		}
		if errors.Is(err, io.EOF) && len(line) == 0 && encoding == nil {
			return nil
		}
		if saying := answers.Encode(answerTo(ctx, n, line, cmp.Or(encoding, err), to)); saying != nil {
			return fmt.Errorf("standard output: %w", saying)
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

var errLongLine = fmt.Errorf("the line is longer than %d bytes; IoT Hub takes readings of 256 KB", maxLine)

// readLine is the next line with its end. One that is too long is read to its end and not kept.
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

// parseLine tells an envelope by its members: "body", and none but those that an envelope may have.
func parseLine(line []byte) (machine.Reading, error) {
	if len(line) == 0 {
		return machine.Reading{}, errEmptyLine
	}
	var names map[string]json.RawMessage
	if !utf8.Valid(line) || json.Unmarshal(line, &names) != nil || !isEnvelope(names) { // json would put U+FFFD in
		return machine.Reading{Body: line}, nil // which Send checks
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
		return fmt.Errorf("%.80q is no string: %.80s", name, raw)
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
		return nil, fmt.Errorf("properties: %w", err)
	}
	properties := map[string]string{}
	for name := range members {
		var value string
		if err := decodeText(members, name, &value); err != nil {
			return nil, fmt.Errorf("properties: %w", err)
		}
		if string(members[name]) == "null" {
			return nil, fmt.Errorf(`properties: %.80q is null: leave it out, or give it "" for an empty value`, name)
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
