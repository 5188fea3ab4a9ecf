package transport

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Key is a shared access key. Printing or marshalling one gives no byte of it away.
type Key struct{ secret []byte }

// ParseKey reads a shared access key as Azure shows it, in base64. Its errors do not quote the text.
func ParseKey(text string) (Key, error) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return Key{}, errors.New("the key is not base64: copy the whole primary or secondary key, with its '=' at the end")
	}
	if len(secret) < 16 {
		return Key{}, fmt.Errorf("the key has %d bytes, which is too short for a shared access key: copy all of it", len(secret))
	}
	return Key{secret}, nil
}

// Derive is the device key that belongs to a registration ID in an enrollment group whose key this is.
func (k Key) Derive(registrationID string) Key { return Key{k.sign(registrationID)} }

func (k Key) sign(text string) []byte {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// String hides the key.
func (Key) String() string { return "[key]" }

// GoString hides the key.
func (Key) GoString() string { return "[key]" }

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
