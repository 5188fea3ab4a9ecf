package transport

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// shortestSecret is the length in bytes of the shortest text that is treated as a secret. A shorter
// one could match other text by accident.
const shortestSecret = 16

// formsOf returns a secret in all forms in which a text may show it: as it is, quoted, in base64,
// in hex and URL-encoded. The base64 forms lack their '=', so that they match with and without it.
// A topic may URL-encode a text that is encoded already.
func formsOf(secret []byte) []string {
	hexed, quoted := hex.EncodeToString(secret), strconv.Quote(string(secret))
	text := base64.RawStdEncoding.EncodeToString(secret)
	forms := []string{
		string(secret), quoted[1 : len(quoted)-1], hexed, strings.ToUpper(hexed),
		text, base64.RawURLEncoding.EncodeToString(secret), lowerEscapes.Replace(url.QueryEscape(text)),
	}
	for range 3 {
		text = url.QueryEscape(text)
		forms = append(forms, text)
	}
	return forms
}

// lowerEscapes replaces the escapes of '+' and '/', the characters of base64 that a URL cannot hold, by
// those that .NET writes.
var lowerEscapes = strings.NewReplacer("%2B", "%2b", "%2F", "%2f")

// A mask holds the forms of the secrets that a peer may send back. Unmasked, such secrets could get
// into errors, logs and files.
type mask [][]byte

// maskFor returns the mask of a password and, if it is a SAS token, of its signature.
func maskFor(password string) (m mask) {
	if len(password) < shortestSecret {
		return nil
	}
	forms := append(formsOf([]byte(password)), url.QueryEscape(password))
	if _, rest, isSAS := strings.Cut(password, "&sig="); isSAS {
		sig, _, _ := strings.Cut(rest, "&")
		forms = append(forms, sig, hex.EncodeToString([]byte(sig)))
		if text, err := url.QueryUnescape(sig); err == nil {
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
				forms = append(forms, formsOf(raw)...)
			}
		}
	}
	for _, form := range forms {
		if len(form) >= shortestSecret {
			m = append(m, []byte(form))
		}
	}
	return m
}

// cover overwrites secrets with asterisks. The length stays the same, so that the packet can still be
// parsed.
func (m mask) cover(body []byte) {
	if len(body) < shortestSecret {
		return
	}
	for _, secret := range m {
		for rest := body; ; {
			i := bytes.Index(rest, secret)
			if i < 0 {
				break
			}
			copy(rest[i:], bytes.Repeat([]byte{'*'}, len(secret)))
			rest = rest[i+len(secret):] // search behind the match: the secret may consist of asterisks
		}
	}
}

// A KeyError is an error of a KeySource whose text contains nothing of the key and may be shown. Of any
// other error only the type and the operating system's error number are shown, because a library may
// quote what it could not read.
type KeyError struct{ Err error }

func (e *KeyError) Error() string { return e.Err.Error() }

// Unwrap lets errors.Is and errors.As see the error inside.
func (e *KeyError) Unwrap() error { return e.Err }

// withoutKey returns an error of a KeySource in the form that may be shown.
func withoutKey(err error) error {
	if err == nil {
		return nil
	}
	if safe, ok := errors.AsType[*KeyError](err); ok {
		return safe
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return fmt.Errorf("%T: %w", err, errno)
	}
	return fmt.Errorf("the key source failed with a %T, whose text is not shown because it may contain the key; "+
		"the text of a *transport.KeyError is shown", err)
}
