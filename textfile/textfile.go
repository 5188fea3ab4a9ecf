// Package textfile reads files that people write: settings, keys, certificates, scenarios, exports.
// Their text is UTF-8. A byte-order mark at the beginning is removed. The errors about UTF-16 and
// UTF-32 name the encoding. Files that may have no end, such as devices, are refused.
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

// ReadAll is Read for a stream. Errors call the stream by name.
func ReadAll(name string, r io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(text)) > limit:
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return decode(name, text)
}

// Open opens a file of any size, for a caller that reads it piece by piece.
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

// NewReader is Open for a stream. Errors call the stream by name.
func NewReader(name string, r io.Reader) io.Reader {
	return &reader{name: name, in: bufio.NewReader(r)}
}

// A reader checks the encoding at the first Read.
type reader struct {
	name  string
	in    *bufio.Reader
	begun bool
	err   error
}

func (r *reader) Read(b []byte) (int, error) {
	if !r.begun {
		r.begun = true
		start, _ := r.in.Peek(markLength) // the Read below returns an error that Peek met
		rest, err := decode(r.name, start)
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
	markLength = 4        // bytes of the longest byte-order mark, that of UTF-32
)

// Decode removes the byte-order mark from a text. It returns an error if the first bytes show
// another encoding.
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

func decode(name string, text []byte) ([]byte, error) {
	text, err := Decode(text)
	if err != nil {
		err = fmt.Errorf("%s cannot be read: %w", name, err)
	}
	return text, err
}

// OnlyOnce reports whether a name is that of a file that the shell has opened, such as <(command)
// or /dev/stdin. Such a file may be a pipe, whose text cannot be read again.
func OnlyOnce(name string) bool {
	return strings.HasPrefix(name, "/dev/fd/") || strings.HasPrefix(name, "/proc/self/fd/") || name == "/dev/stdin"
}

// open opens a regular file, a pipe that the shell has opened, or the null device, which is an
// empty file. Any other file could block the caller for ever, and opening some devices has effects.
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
	return os.Open(name)
}

const pipe = "named pipe"

// kindOf returns the word for a file that is not regular, and "" for a regular file.
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
