package payloads

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// A Property is one name and value of a property bag.
type Property struct {
	Name, Value string
	Null        bool // the name stood alone, without "="
}

// A Bag is the ordered list of properties that a topic carries at its end: k1=v1&k2=v2.
type Bag []Property

// Encode writes the bag as a topic carries it. Every byte that is not a letter, a digit or one of -._~
// becomes %XX, so a value can hold anything and a wildcard never reaches the topic.
func (b Bag) Encode() string {
	return string(b.appendTo(nil))
}

func (b Bag) appendTo(dst []byte) []byte {
	for i, p := range b {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = p.appendTo(dst)
	}
	return dst
}

func (p Property) appendTo(dst []byte) []byte {
	dst = appendEscaped(dst, p.Name)
	if !p.Null {
		dst = append(dst, '=')
		dst = appendEscaped(dst, p.Value)
	}
	return dst
}

// Get returns the value of the first property with that name; the value of a null property is "".
func (b Bag) Get(name string) (string, bool) {
	for _, p := range b {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// ParseBag reads a property bag, with or without the "?" that some topics carry before it. It splits before it decodes,
// since a decoded value may hold & and =, and it takes + for a plus: only %20 is a space here.
//
// The bag is whole even when there is an error. The error names the properties that are not percent-encoded UTF-8,
// whose name or value is in the bag as it stands in the topic, and those without a name.
func ParseBag(s string) (Bag, error) {
	b, err := parseBag(s)
	if err != nil {
		return b, fmt.Errorf("payloads: %w", err)
	}
	return b, nil
}

func parseBag(s string) (Bag, error) {
	b, faults := readBag(s)
	return b, faults.err()
}

func readBag(s string) (Bag, bagFaults) {
	var b Bag
	var faults bagFaults
	for part := range strings.SplitSeq(strings.TrimPrefix(s, "?"), "&") {
		if part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		p := Property{Name: name, Value: value, Null: !found}
		for _, text := range []*string{&p.Name, &p.Value} {
			if decoded, err := unescape(*text); err == nil {
				*text = decoded
			} else {
				faults.add("%.80q is kept as it is: %v", part, err)
			}
		}
		if name == "" {
			faults.add("%.80q has no name", part)
		}
		b = append(b, p)
	}
	return b, faults
}

// bagFaults are what is wrong with a bag. Only the first few are named: whoever writes a topic decides how many
// there are.
type bagFaults struct {
	named []string
	more  int
}

const namedFaults = 3

func (f *bagFaults) add(format string, values ...any) {
	if len(f.named) == namedFaults {
		f.more++
		return
	}
	f.named = append(f.named, fmt.Sprintf(format, values...))
}

func (f *bagFaults) err() error {
	if len(f.named) == 0 {
		return nil
	}
	text := "property bag: " + strings.Join(f.named, "; ")
	if f.more > 0 {
		text += fmt.Sprintf("; and %d more", f.more)
	}
	return errors.New(text)
}

func escape(s string) string {
	return string(appendEscaped(nil, s))
}

// plain are the bytes that stand for themselves.
var plain = func() (is [256]bool) {
	for c := range is {
		is[c] = isAlphanumeric(byte(c)) || strings.IndexByte("-._~", byte(c)) >= 0
	}
	return is
}()

func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	from := 0 // of what stands for itself and has not been written
	for i := range len(s) {
		if c := s[i]; !plain[c] {
			dst = append(append(dst, s[from:i]...), '%', hex[c>>4], hex[c&15])
			from = i + 1
		}
	}
	return append(dst, s[from:]...)
}

func unescape(s string) (string, error) {
	decoded, err := url.PathUnescape(s)
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(decoded) {
		return "", errors.New("not UTF-8")
	}
	return decoded, nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
