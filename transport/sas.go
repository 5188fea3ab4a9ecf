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

// A Key is a shared access key. Printing or marshalling one, or a struct that holds it, gives no byte of it away: the key
// is inside a function, where reflection does not reach.
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

// ParseKey reads a shared access key as Azure shows it, in base64. Its errors do not quote the text and are
// *KeyError. A key has 16 to 64 bytes by azure-docs iot-dps/concepts-symmetric-key-attestation.md; a longer one
// is left to the service.
func ParseKey(text string) (Key, error) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return Key{}, &KeyError{errors.New("the key is not base64: copy the whole primary or secondary key, with its '=' at the end")}
	}
	if len(secret) < 16 {
		return Key{}, &KeyError{fmt.Errorf("the key has %d bytes, which is too short for a shared access key: copy all of it", len(secret))}
	}
	return newKey(secret), nil
}

// Derive is the device key that belongs to a registration ID in an enrollment group whose key this is.
func (k Key) Derive(registrationID string) Key {
	derived := newKey(k.sign(registrationID))
	own := derived.hide
	derived.hide = func(text string) string { return own(k.Hide(text)) }
	return derived
}

// Hide is a text without this key and the one that it is derived from: it says [key] wherever it had one of them, in base64,
// URL-encoded, in hex, or as it is.
func (k Key) Hide(text string) string {
	if k.hide == nil || text == "" {
		return text
	}
	return k.hide(text)
}

// sign signs with the zero Key too; what it signs, everyone refuses.
func (k Key) sign(text string) []byte {
	if k.hmac == nil {
		k = newKey(nil)
	}
	return k.hmac(text)
}

// String hides the key.
func (Key) String() string { return "[key]" }

// Format hides the key, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText hides the key.
func (Key) MarshalText() ([]byte, error) { return []byte("[key]"), nil }

// SAS makes a shared access signature token for a resource (host/devices/id for a hub, scope/registrations/id for DPS)
// that is good until expires, to the second. keyName is "registration" for DPS and "" for a hub's device key.
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
