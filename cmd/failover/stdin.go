package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/outbox"
)

// maxLine is the longest line of standard input, in bytes: more than the largest reading that IoT Hub takes.
const maxLine = 1 << 20

// aboutStdin is part of the help.
const aboutStdin = `With --stdin the readings come from standard input, one JSON value a line, and nothing is made up: a line is the body of a
reading, or an object with "body" and, if wanted, "time" (RFC 3339), "properties" (an object of strings) and "component".
Standard output answers each line, in order: {"id":"8f3a1c02-17"} once the reading is accepted, else {"line":3,"error":"…"}.
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

// drained waits until every reading is delivered, or for ctx.
func drained(ctx context.Context, box outbox.Outbox) {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for left, _ := box.Waiting(); left > 0; left, _ = box.Waiting() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

func feedAll(ctx context.Context, in io.Reader, out io.Writer, to sender) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	answers := json.NewEncoder(out)
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if len(line) > 0 || err != nil && !errors.Is(err, io.EOF) {
			if saying := answers.Encode(answerTo(ctx, n, line, err, to)); saying != nil {
				return fmt.Errorf("standard output: %w", saying)
			}
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
		r, err = parseLine(line)
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

var errLongLine = fmt.Errorf("the line is longer than %d bytes; IoT Hub takes readings of 256 KB", maxLine)

// readLine is the next line without its end and blanks around it. One that is too long is read to its end and not kept.
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
			return bytes.TrimSpace(line), err
		}
	}
}

// parseLine tells an envelope by its members: "body", and none but those that an envelope may have.
func parseLine(line []byte) (machine.Reading, error) {
	var e struct {
		Body       json.RawMessage
		Time       moment
		Properties map[string]string
		Component  string
	}
	members := map[string]json.RawMessage{}
	if !utf8.Valid(line) || json.Unmarshal(line, &members) != nil || !isEnvelope(members) { // json would put U+FFFD in
		return machine.Reading{Body: line}, nil // which Send checks
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return machine.Reading{}, err
	}
	return machine.Reading{Body: e.Body, Taken: time.Time(e.Time), Properties: e.Properties, Component: e.Component}, nil
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
