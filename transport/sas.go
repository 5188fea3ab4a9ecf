package transport

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Key is a shared access key. Printing or marshalling it, or a struct that holds it, shows no byte of
// it: the key is inside a function, where reflection does not reach.
type Key struct {
	hmac func(text string) []byte
	hide func(text string) string
}

func newKey(secret []byte) Key {
	var pairs []string
	for _, form := range formsOf(secret) {
		pairs = append(pairs, form, "[key]")
	}
	return Key{func(text string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}, strings.NewReplacer(pairs...).Replace}
}

// ParseKey parses a shared access key as Azure shows it, in base64. Its errors are *KeyError and do not
// quote the text. A key has 16 to 64 bytes (azure-docs
// articles/iot-dps/concepts-symmetric-key-attestation.md); the service refuses a longer one.
func ParseKey(text string) (Key, error) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return Key{}, &KeyError{errors.New("the key is not base64: copy all of the primary or secondary key, " +
			"with its '='")}
	}
	if len(secret) < 16 {
		return Key{}, &KeyError{fmt.Errorf("the key has %d bytes: at least 16; copy all of it", len(secret))}
	}
	return newKey(secret), nil
}

// Derive returns the key of a device in an enrollment group. k is the group's key, and the registration
// ID must be spelled as the device sends it.
func (k Key) Derive(registrationID string) Key {
	derived := newKey(k.sign(registrationID))
	own := derived.hide
	derived.hide = func(text string) string { return own(k.Hide(text)) }
	return derived
}

// Hide returns a text in which [key] replaces this key, and the group key from which it is derived,
// in base64, URL-encoded, in hex or as raw bytes.
func (k Key) Hide(text string) string {
	if k.hide == nil || len(text) < shortestSecret {
		return text
	}
	return k.hide(text)
}

// Equal reports whether two keys sign alike.
func (k Key) Equal(other Key) bool { return hmac.Equal(k.sign(""), other.sign("")) }

// sign returns the HMAC-SHA256 of a text. The zero Key signs with an empty secret, and every
// service refuses such a signature.
func (k Key) sign(text string) []byte {
	if k.hmac == nil {
		k = newKey(nil)
	}
	return k.hmac(text)
}

// String returns [key].
func (Key) String() string { return "[key]" }

// Format prints [key], whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText returns [key].
func (Key) MarshalText() ([]byte, error) { return []byte("[key]"), nil }

// SAS returns a shared access signature token for a resource: host/devices/id at a hub,
// scope/registrations/id at DPS. It is valid until expires, in whole seconds. keyName is "registration"
// for DPS and "" for a device's key at a hub.
// https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas
func SAS(resource, keyName string, k Key, expires time.Time) string {
	sr := url.QueryEscape(resource)
	se := strconv.FormatInt(expires.Unix(), 10)
	sig := base64.StdEncoding.EncodeToString(k.sign(sr + "\n" + se))
	token := "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(sig) + "&se=" + se
	if keyName != "" {
		token += "&skn=" + keyName
	}
	return token
}
