package drill

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of a client's output on its card.
const (
	outputLines  = 20
	outputLine   = 400     // characters of a line that are shown
	lineCapacity = 4 << 10 // bytes of a line that are kept, so that a key is recognized before the line is cut
)

// A tail is a writer that keeps the last lines of what is written to it.
type tail struct {
	also    io.Writer // receives everything; nil means that nothing else does
	lines   [][]byte
	current []byte // the line that has no end yet
}

// Write never fails, because the client must not end when its log cannot be written. The tail then has a line about it.
func (t *tail) Write(text []byte) (int, error) {
	if t.also != nil {
		if _, err := t.also.Write(text); err != nil {
			t.also = nil
			t.keep(fmt.Appendf(nil, "\n(drill: the log of the client ends here, because writing failed: %v)\n", err))
		}
	}
	t.keep(text)
	return len(text), nil
}

func (t *tail) keep(text []byte) {
	for {
		line, rest, ends := bytes.Cut(text, []byte("\n"))
		t.current = append(t.current, line[:min(len(line), lineCapacity-len(t.current))]...)
		if !ends {
			return
		}
		if len(bytes.TrimSpace(t.current)) > 0 {
			t.lines = append(t.lines[max(0, len(t.lines)+1-outputLines):], t.current)
		}
		t.current, text = nil, rest
	}
}

// output returns the last lines without keys, each safe to print on a terminal. It is never nil.
func (t *tail) output(key string) []string {
	all := []string{}
	for _, line := range append(t.lines[:len(t.lines):len(t.lines)], t.current) {
		if text := strings.TrimRight(withoutKeys(string(line), key), " \t\r"); text != "" {
			all = append(all, shortened(escaped(text), outputLine))
		}
	}
	return all[max(0, len(all)-outputLines):]
}

var (
	// named matches the signature of a token and a key, each after its name.
	named = regexp.MustCompile(
		`(?i)((?:sig|SharedAccessKey|(?:device|group|primary|secondary)_?key)(?:=|%3D))[^&;\s"']+`)
	// secret matches a key of 32 bytes or more in base64 or in hexadecimal digits.
	secret = regexp.MustCompile(`(?i)[A-Z0-9+/_%-]{42,}(%3D|=)+|[0-9A-F]{64,}`)
	// shortSecret matches a key of 16 bytes or more in base64, and what follows it.
	shortSecret = regexp.MustCompile(`[A-Za-z0-9+/]{21,}(?:=|%3D){1,2}([^A-Za-z0-9=]|$)`)
	// longWord matches what may be a key of 32 bytes in base64 for URLs.
	longWord = regexp.MustCompile(`[A-Za-z0-9_-]{43,}`)
)

const hidden = "(a secret)"

// withoutKeys returns a text without the client's own key in any usual form, and without other keys and tokens.
func withoutKeys(text, key string) string {
	for _, form := range formsOf(key) {
		text = strings.ReplaceAll(text, form, hidden)
	}
	text = named.ReplaceAllString(text, "${1}"+hidden)
	text = shortSecret.ReplaceAllString(secret.ReplaceAllString(text, hidden), hidden+"$1")
	return longWord.ReplaceAllStringFunc(text, func(word string) string {
		if strings.ContainsFunc(word, unicode.IsUpper) && strings.ContainsFunc(word, unicode.IsLower) &&
			strings.ContainsFunc(word, unicode.IsDigit) {
			return hidden
		}
		return word
	})
}

// formsOf returns the ways in which programs write a key that is given in base64.
func formsOf(key string) (forms []string) {
	if key == "" {
		return nil
	}
	forms = []string{key, url.QueryEscape(key)}
	if raw, err := base64.StdEncoding.DecodeString(key); err == nil {
		digits := hex.EncodeToString(raw)
		forms = append(forms, base64.URLEncoding.EncodeToString(raw), digits, strings.ToUpper(digits))
	}
	for _, form := range forms {
		if short := strings.TrimRight(strings.ReplaceAll(form, "%3D", "="), "="); short != "" {
			forms = append(forms, short)
		}
	}
	return forms
}

// escaped returns a text in which no character moves the cursor of a terminal, changes the direction of the text, or
// begins a line.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(strings.ReplaceAll(text, "\t", "    "), string(utf8.RuneError)) {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// shortened returns the first characters of a text, and says how many others there are.
func shortened(text string, most int) string {
	all := []rune(text)
	if len(all) <= most {
		return text
	}
	return string(all[:most]) + "... (" + strconv.Itoa(len(all)-most) + " more characters)"
}

// telling matches a line of output that is likely to say why a program has ended.
var telling = regexp.MustCompile(`(?i)error|exception|fatal|panic|denied|not found`)

// lastWords returns the last line that is likely to say why the client has ended, or else the last line.
func lastWords(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		if telling.MatchString(output[i]) {
			return strings.TrimSpace(output[i])
		}
	}
	return strings.TrimSpace(output[len(output)-1])
}
