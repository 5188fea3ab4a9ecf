package emulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A token is a parsed SAS token. It must never be printed.
type token struct {
	resource  string // value of sr: percent-encoded, as the device signed it
	signature []byte
	expiry    string // value of se, as the device signed it
	policy    string
	notes     []string // one sentence for each property that the documents do not describe
}

// parseToken reads "SharedAccessSignature sr=…&sig=…&se=…[&skn=…]", its fields in any order. It
// refuses what the parsers of Microsoft's published SDKs refuse (SharedAccessSignatureParser in
// azure-iot-sdk-csharp): a field that is missing or given twice. Like those parsers it ignores
// an unknown field.
func parseToken(password string) (token, error) {
	if password == "" {
		return token{}, refuse(refuseToken, "there is no password, and certificates are not supported")
	}
	fields, ok := strings.CutPrefix(password, "SharedAccessSignature ")
	if !ok {
		return token{}, refuse(refuseToken, "the password does not begin with \"SharedAccessSignature \"")
	}
	var t token
	seen := map[string]bool{}
	for field := range strings.SplitSeq(fields, "&") {
		name, value, _ := strings.Cut(field, "=")
		if seen[name] {
			return token{}, refuse(refuseToken, "a field of the token is given twice")
		}
		seen[name] = true
		switch name {
		case "sr":
			t.resource = value
		case "sig":
			decoded, err := url.QueryUnescape(value)
			if err == nil {
				t.signature, err = base64.StdEncoding.DecodeString(decoded)
			}
			if err != nil {
				return token{}, refuse(refuseToken, "the token's sig is not percent-encoded base64")
			}
		case "se":
			t.expiry = value
		case "skn":
			t.policy = value
		default:
			t.notes = append(t.notes, "signed a token that has a field other than sr, sig, se and skn")
		}
	}
	if t.resource == "" || t.signature == nil || t.expiry == "" {
		return token{}, refuse(refuseToken, "the token lacks sr, sig or se")
	}
	return t, nil
}

// check checks the signature, the resource and the expiry, and returns the expiry.
func (t token) check(key []byte, resource string, now time.Time) (time.Time, error) {
	if !t.isFor(resource) {
		return time.Time{}, refuse(refuseToken, "the token's sr is not %q, percent-encoded", resource)
	}
	seconds, err := strconv.ParseInt(t.expiry, 10, 64)
	if err != nil {
		return time.Time{}, refuse(refuseToken, "the token's se is not a number of seconds")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(t.resource + "\n" + t.expiry))
	if !hmac.Equal(mac.Sum(nil), t.signature) {
		return time.Time{}, refuse(refuseToken,
			"the token is signed with another key, or what was signed is not \"{sr}\\n{se}\"")
	}
	expires := time.Unix(seconds, 0)
	if !now.Before(expires) {
		return time.Time{}, refuse(refuseToken, "the token expired %v ago", now.Sub(expires).Round(time.Second))
	}
	return expires, nil
}

// isFor reports whether the token's sr covers a resource.
func (t token) isFor(resource string) bool {
	decoded, err := url.QueryUnescape(t.resource)
	return err == nil && covers(decoded, resource)
}

// covers reports whether a token with this sr is valid for a resource. It ignores case: the
// documents require lower case, but SDKs do not convert sr. The documents call sr a prefix of the
// resource by segment (azure-docs iot-hub/iot-hub-dev-guide-sas.md). But an example in the documents
// has an sr that is longer than the resource (iot/iot-mqtt-connect-to-iot-hub.md,
// ".../api-version=..."). So covers accepts a shorter and a longer sr.
func covers(sr, resource string) bool {
	short, long := strings.ToLower(sr), strings.ToLower(resource)
	if len(short) > len(long) {
		short, long = long, short
	}
	return short != "" && (short == long || strings.HasPrefix(long, short+"/"))
}

// deriveKey returns the key of one registration ID in a group enrollment, not yet base64-encoded.
func deriveKey(groupKey []byte, registrationID string) []byte {
	mac := hmac.New(sha256.New, groupKey)
	mac.Write([]byte(registrationID))
	return mac.Sum(nil)
}

// parameters parses "a=1&b=2" as in user names and topics, where '+' is a plus sign. If a name
// occurs twice, the last value counts, as in Microsoft's SDK for C#. The error names the first
// parameter that is badly percent-encoded. The notes name what the documents do not describe: a
// parameter without a name is ignored, and one that is not UTF-8 stays encoded.
func parameters(text string) (values map[string]string, notes []string, err error) {
	values = map[string]string{}
	if text == "" {
		return values, nil, nil
	}
	for pair := range strings.SplitSeq(text, "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, nameErr := url.PathUnescape(rawName)
		value, valueErr := url.PathUnescape(rawValue)
		switch {
		case nameErr != nil || valueErr != nil:
			if err == nil {
				err = fmt.Errorf("%.60q is badly percent-encoded", pair)
			}
			continue
		case name == "":
			notes = append(notes, "without a name")
			continue
		case !utf8.ValidString(name) || !utf8.ValidString(value):
			notes = append(notes, "that is not UTF-8")
			name, value = rawName, rawValue
		}
		values[name] = value
	}
	return values, notes, err
}
