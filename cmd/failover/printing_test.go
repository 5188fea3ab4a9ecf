package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestEscapedTextIsOneLineWithoutControlCharacters(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain text, ünïcode: 温度 – …": "plain text, ünïcode: 温度 – …",
		`C:\new "file"`: `C:\new "file"`,
		"a\nb\r\tc":     `a\nb\r\tc`, "\x1b[31m\a\x7f": `\u001b[31m\u0007\u007f`, "\u009b2J\u0085": `\u009b2J\u0085`,
		"txt.\u202eexe\u2028\u200b": `txt.\u202eexe\u2028\u200b`, "\xff\xc3": `\xff\xc3`, "\ufffd": "\ufffd",
		"\U000e0041": `\udb40\udc41`,
	} {
		if got := escaped(text); got != want {
			t.Errorf("%q is escaped as %s; want %s", text, got, want)
		}
	}
}

func TestOnlyJoinedErrorsBeginALine(t *testing.T) {
	evil := &fs.PathError{Op: "open", Path: "a\nfailover: fine\x1b[2J", Err: fs.ErrNotExist}
	const one = `open a\nfailover: fine\u001b[2J: file does not exist`
	first, second := errors.New("first\r"), errors.New("second")
	for _, c := range []struct {
		err  error
		want string
	}{
		{evil, one},
		{usage(fmt.Errorf("--ca-file: %w; see --help", evil)), "--ca-file: " + one + "; see --help"},
		{errors.Join(first, second), "first\\r\nsecond"},
		{usage(errors.Join(errors.Join(first, evil), second)), "first\\r\n" + one + "\nsecond"},
		{fmt.Errorf("x\n: %w, y\n", errors.Join(first, second)), `x\n: first\r` + "\nsecond" + `, y\n`},
		{
			fmt.Errorf("%w; nor a file:\n %w", errors.Join(first, second), evil), "first\\r\nsecond" +
				`; nor a file:\n ` + one,
		},
		{errorWithoutKeys(errors.Join(first, second)), "first\\r\nsecond"},
		{&codedError{1, errors.New("")}, ""},
	} {
		if got := escapedError(c.err); got != c.want {
			t.Errorf("%q is printed as\n%s\nwant\n%s", c.err, got, c.want)
		}
	}
}

// The result does not depend on how the text is divided into Writes.
func TestPrinterEscapesAllButLinesAndTabsAndKeepsJSONValues(t *testing.T) {
	value := "a\u009b\x7f\u202e温\U000e0041\"é"
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	in := append(text, "\n\tplain \x1b[2J\r\xff\n"...)
	want := `"a\u009b\u007f\u202e温\udb40\udc41\"é"` + "\n\tplain \\u001b[2J\\u000d\ufffd\n"
	for size := 1; size <= len(in); size++ {
		var out bytes.Buffer
		p := &printer{to: &out}
		for rest := in; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			part := rest[:min(size, len(rest))]
			if n, err := p.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if out.String() != want {
			t.Fatalf("in parts of %d bytes: %q, want %q", size, out.String(), want)
		}
		var read string
		if line, _ := out.ReadBytes('\n'); json.Unmarshal(line, &read) != nil || read != value {
			t.Errorf("the value has become %q", read)
		}
	}
}
