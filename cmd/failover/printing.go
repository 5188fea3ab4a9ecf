package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// escaped returns text from outside in a form that is safe to print on one line: no character moves
// the cursor, changes the direction of the text, or begins a line.
func escaped(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		default:
			b.WriteString(escape(r))
		}
	}
	return b.String()
}

// escape returns a character as \uXXXX, as Go and JSON write it.
func escape(r rune) string {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// escapedError returns the text of an error in a form that is safe to print. Each error of
// errors.Join begins a line; any other line end came from outside and is escaped.
func escapedError(err error) string {
	if parts := joined(err); parts != nil {
		lines := make([]string, len(parts))
		for i, part := range parts {
			lines[i] = escapedError(part)
		}
		return strings.Join(lines, "\n")
	}
	text := err.Error()
	var b strings.Builder
	for _, inner := range wrapped(err) {
		if before, after, found := strings.Cut(text, inner.Error()); found && inner.Error() != "" {
			b.WriteString(escaped(before) + escapedError(inner))
			text = after
		}
	}
	return b.String() + escaped(text)
}

// wrapped returns the errors that an error wraps.
func wrapped(err error) []error {
	switch err := any(err).(type) { // check only this error; the caller goes through the wrapped errors
	case interface{ Unwrap() []error }:
		return err.Unwrap()
	case interface{ Unwrap() error }:
		if inner := err.Unwrap(); inner != nil {
			return []error{inner}
		}
	}
	return nil
}

// joined returns the errors that errors.Join has joined, or nil if err is not from errors.Join.
func joined(err error) []error {
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var texts []string
	for _, part := range list.Unwrap() {
		texts = append(texts, part.Error())
	}
	if err.Error() != strings.Join(texts, "\n") {
		return nil
	}
	return list.Unwrap()
}

// A printer writes text that contains values from outside, such as tables and JSON, to a terminal.
// It escapes control characters except line ends and tabs, which this program writes itself. In
// JSON the escapes do not change a value.
type printer struct {
	to   io.Writer
	mu   sync.Mutex
	rest []byte // the first bytes of a character whose other bytes follow in the next Write
}

func (p *printer) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	unusual := func(r rune) bool { return r > '~' || r < ' ' && r != '\n' && r != '\t' }
	if len(p.rest) == 0 && !bytes.ContainsFunc(text, unusual) {
		return p.to.Write(text)
	}
	var out []byte
	in := append(p.rest, text...)
	for len(in) > 0 && utf8.FullRune(in) {
		r, size := utf8.DecodeRune(in)
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, escape(r)...)
		}
		in = in[size:]
	}
	p.rest = append([]byte(nil), in...)
	if _, err := p.to.Write(out); err != nil {
		return 0, err
	}
	return len(text), nil
}
