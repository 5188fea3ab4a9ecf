package textfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"giantlizard.example/failover/textfile"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// readings are the ways to read a text.
func readings(t *testing.T, text string) map[string]func() ([]byte, error) {
	name := write(t, text)
	return map[string]func() ([]byte, error){
		"Read":    func() ([]byte, error) { return textfile.Read(name, 100) },
		"ReadAll": func() ([]byte, error) { return textfile.ReadAll(name, strings.NewReader(text), 100) },
		"Open": func() ([]byte, error) {
			f, err := textfile.Open(name)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			return io.ReadAll(f)
		},
		"NewReader, a byte at a time": func() ([]byte, error) {
			return io.ReadAll(textfile.NewReader(name, iotest.OneByteReader(strings.NewReader(text))))
		},
	}
}

func TestByteOrderMarkIsLeftOut(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", "ab": "ab", "abcdef": "abcdef", "é": "é",
		"\ufeff": "", "\ufeffa": "a", "\ufeffabcdef": "abcdef", "a\ufeff": "a\ufeff", "\xef\xbb": "\xef\xbb",
	} {
		for how, read := range readings(t, text) {
			if got, err := read(); string(got) != want || err != nil {
				t.Errorf("%s of %q: %q, %v; want %q", how, text, got, err, want)
			}
		}
	}
}

func TestErrorNamesAnotherEncoding(t *testing.T) {
	for text, want := range map[string]string{
		"\xff\xfea\x00": "UTF-16", "\xfe\xff\x00a": "UTF-16", "\xff\xfe": "UTF-16",
		"\xff\xfe\x00\x00a\x00\x00\x00": "UTF-32", "\x00\x00\xfe\xff": "UTF-32",
		"a\x00b\x00": "UTF-16 without a byte-order mark", "\x00a\x00b": "UTF-16 without a byte-order mark",
	} {
		for how, read := range readings(t, text) {
			got, err := read()
			if len(got) > 0 || err == nil ||
				!strings.Contains(err.Error(), "file cannot be read: it is "+want+": save it as UTF-8") {
				t.Errorf("%s of %q: %q, %v", how, text, got, err)
			}
		}
	}
}

func TestTextThatIsTooLargeIsAnError(t *testing.T) {
	name := write(t, strings.Repeat("a", 101))
	if text, err := textfile.Read(name, 101); len(text) != 101 || err != nil {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if text, err := textfile.Read(name, 100); text != nil || err == nil ||
		err.Error() != name+" is larger than 100 bytes" {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestReadErrorIsReturned(t *testing.T) {
	broken := errors.New("broken")
	for _, text := range []string{"", "ab", "abcdefgh"} {
		in := io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))
		if got, err := io.ReadAll(textfile.NewReader("stream", in)); string(got) != text || !errors.Is(err, broken) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		in = io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))
		if _, err := textfile.ReadAll("stream", in, 100); !errors.Is(err, broken) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMissingFileIsAnError(t *testing.T) {
	if _, err := textfile.Read(filepath.Join(t.TempDir(), "none"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestNullDeviceIsAnEmptyFile(t *testing.T) {
	if text, err := textfile.Read(os.DevNull, 1); len(text) > 0 || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
