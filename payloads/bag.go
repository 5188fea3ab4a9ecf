package payloads

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// A bag is the ordered list of properties at the end of a topic: k1=v1&k2=v2.
type bag []bagProperty

type bagProperty struct {
	Name, Value string
	Null        bool // the name stands alone, without "="
}

// appendTo appends the bag as it stands in a topic. Every byte that is not a letter, a digit or one
// of -._~ becomes %XX, so a value can hold anything, and no wildcard gets into the topic.
func (b bag) appendTo(dst []byte) []byte {
	for i, p := range b {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = appendEscaped(dst, p.Name)
		if !p.Null {
			dst = append(dst, '=')
			dst = appendEscaped(dst, p.Value)
		}
	}
	return dst
}

// get returns the value of the first property with a name. The value of a null property is "".
func (b bag) get(name string) (value string, ok bool) {
	for _, p := range b {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// parseBag reads a property bag, with or without the "?" that precedes it in some topics. It splits
// before it decodes, because a decoded value may hold & and =. A + is a plus: only %20 is a space
// here.
//
// The bag is complete even if there is an error. The error names properties without a name, and
// properties that are not percent-encoded UTF-8, which are in the bag as they stand in the topic.
func parseBag(s string) (bag, error) {
	b, faults := readBag(s)
	return b, faults.err()
}

func readBag(s string) (b bag, faults bagFaults) {
	for part := range strings.SplitSeq(strings.TrimPrefix(s, "?"), "&") {
		if part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		p := bagProperty{Name: name, Value: value, Null: !found}
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

// bagFaults collects what is wrong with a bag. It describes only the first few faults, because a
// peer decides how many there are.
type bagFaults struct {
	count int
	texts []string
}

const maxFaultTexts = 3

func (f *bagFaults) add(format string, values ...any) {
	if f.count++; f.count <= maxFaultTexts {
		f.texts = append(f.texts, fmt.Sprintf(format, values...))
	}
}

func (f bagFaults) err() error {
	switch text := "property bag: " + strings.Join(f.texts, "; "); {
	case f.count == 0:
		return nil
	case f.count > maxFaultTexts:
		return fmt.Errorf("%s; and %d more", text, f.count-maxFaultTexts)
	default:
		return errors.New(text)
	}
}

func escape(s string) string { return string(appendEscaped(nil, s)) }

// isPlain tells for each byte whether appendEscaped appends it unchanged.
var isPlain = func() (is [256]bool) {
	for c := range is {
		is[c] = hasOnly(string([]byte{byte(c)}), "-._~")
	}
	return is
}()

func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	start := 0 // index of the first byte that is not appended yet
	for i := range len(s) {
		if c := s[i]; !isPlain[c] {
			dst = append(append(dst, s[start:i]...), '%', hex[c>>4], hex[c&15])
			start = i + 1
		}
	}
	return append(dst, s[start:]...)
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

// hasOnly reports whether a text has no other characters than ASCII letters, digits and the special
// ones.
func hasOnly(s, special string) bool {
	for i := range len(s) {
		c := s[i]
		if !isAlphanumeric(c) && strings.IndexByte(special, c) < 0 {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
