// Package textfile reads the files that people write: settings, keys, certificates, scenarios,
// exports. Their text is UTF-8. A byte-order mark at the beginning is left out, UTF-16 is refused
// by its name, and nothing is read that has no end.
package textfile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Read returns the text of a file, or an error if it has more than limit bytes.
func Read(name string, limit int64) ([]byte, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(name, f, limit)
}

// ReadAll is Read for a stream; name is what errors call it.
func ReadAll(name string, r io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	if err == nil {
		text, err = decoded(name, text)
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

// Open is Read for a file of any size, which the caller reads piece by piece.
func Open(name string) (io.ReadCloser, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{NewReader(name, f), f}, nil
}

// NewReader is Open for a stream; name is what errors call it.
func NewReader(name string, r io.Reader) io.Reader {
	return &reader{name: name, in: bufio.NewReader(r)}
}

// A reader looks at the beginning at the first Read.
type reader struct {
	name  string
	in    *bufio.Reader
	begun bool
	err   error
}

func (r *reader) Read(b []byte) (int, error) {
	if !r.begun {
		r.begun = true
		start, _ := r.in.Peek(markLength) // the Read below returns its error
		rest, err := decoded(r.name, start)
		r.err = err
		_, _ = r.in.Discard(len(start) - len(rest))
	}
	if r.err != nil {
		return 0, r.err
	}
	return r.in.Read(b)
}

const (
	mark       = "\ufeff" // the byte-order mark of UTF-8
	markLength = 4        // of the longest mark, UTF-32's
)

// Decode takes the mark from the beginning of a text. It refuses any other encoding that the first bytes show.
func Decode(text []byte) ([]byte, error) {
	encoding := ""
	switch two := text[:min(2, len(text))]; {
	case bytes.HasPrefix(text, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(text, []byte("\x00\x00\xfe\xff")):
		encoding = "UTF-32"
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		encoding = "UTF-16"
	case len(two) == 2 && (two[0] == 0) != (two[1] == 0): // no text holds the character 0
		encoding = "UTF-16 without a byte-order mark"
	}
	if encoding != "" {
		return nil, fmt.Errorf("it is %s: save it as UTF-8", encoding)
	}
	return bytes.TrimPrefix(text, []byte(mark)), nil
}

func decoded(name string, text []byte) ([]byte, error) {
	text, err := Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", name, err)
	}
	return text, nil
}

// OnlyOnce reports whether a name stands for what the shell hands over, such as <(command) or
// /dev/stdin. It may be a pipe, from which the same text cannot be read again.
func OnlyOnce(name string) bool {
	return strings.HasPrefix(name, "/dev/fd/") || strings.HasPrefix(name, "/proc/self/fd/") || name == "/dev/stdin"
}

// open opens a regular file, what the shell hands over, and the null device, which is an empty
// file. Anything else could block the caller for ever, and to open some devices has consequences.
func open(name string) (io.ReadCloser, error) {
	if name == os.DevNull {
		return io.NopCloser(strings.NewReader("")), nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if kind := kindOf(info.Mode()); kind != "" && (kind != pipe || !OnlyOnce(name)) {
		return nil, fmt.Errorf("%s is no regular file: it is a %s", name, kind)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

const pipe = "named pipe"

// kindOf is the word for what is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return pipe
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
