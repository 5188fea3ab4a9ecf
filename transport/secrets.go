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

// shortestSecret keeps a password that is none from being looked for in everything that comes.
const shortestSecret = 16

// formsOf is a secret in the forms in which it could be shown. Those of base64 lack their '=', so that they are found with
// it and without. What is URL-encoded already may be so again where it stands in a topic.
func formsOf(secret []byte) []string {
	text, hexed, quoted := base64.RawStdEncoding.EncodeToString(secret), hex.EncodeToString(secret), strconv.Quote(string(secret))
	forms := []string{
		string(secret), quoted[1 : len(quoted)-1], text, base64.RawURLEncoding.EncodeToString(secret), hexed, strings.ToUpper(hexed),
		lowerEscapes.Replace(url.QueryEscape(text)),
	}
	for range 3 {
		text = url.QueryEscape(text)
		forms = append(forms, text)
	}
	return forms
}

// lowerEscapes is how .NET writes the two signs of base64 that a URL cannot hold.
var lowerEscapes = strings.NewReplacer("%2B", "%2b", "%2F", "%2f")

// A mask is what must not be read from a peer that sends it back, for it would end up in errors, logs and files.
type mask [][]byte

// maskFor finds a password and, when it is a SAS token, its signature.
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

// cover overwrites what is masked. The length stays, so that whatever it stands in can still be parsed.
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
			rest = rest[i+len(secret):] // on from here: the secret may be asterisks itself
		}
	}
}

// A KeyError is a KeySource's error whose text holds nothing of the key and may be shown. Of any other error only the type
// is shown, and what the operating system says: a library may quote what it could not read.
type KeyError struct{ Err error }

func (e *KeyError) Error() string { return e.Err.Error() }

// Unwrap lets errors.Is and errors.As see the error inside.
func (e *KeyError) Unwrap() error { return e.Err }

// keyless is a KeySource's error as it may be shown.
func keyless(err error) error {
	var safe *KeyError
	var number syscall.Errno
	switch {
	case errors.As(err, &safe):
		return safe
	case errors.As(err, &number):
		return fmt.Errorf("%T: %w", err, number)
	}
	return fmt.Errorf("the key source failed with a %T, whose text is not shown because the key may be in it; a *transport.KeyError is shown", err)
}
