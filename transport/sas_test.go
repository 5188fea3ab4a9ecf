package transport_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/transport"
)

// secret is a key whose bytes are easy to find in a text.
const secret = "a shared access key of 32 bytes!"

func key(t *testing.T, bytes string) transport.Key {
	t.Helper()
	k, err := transport.ParseKey(base64.StdEncoding.EncodeToString([]byte(bytes)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The signatures come from openssl.
func TestTokensAreThoseOfTheDocumentation(t *testing.T) {
	expires := time.Unix(1578941692, 999999999)
	for resource, c := range map[string]struct{ name, want string }{
		"myiothub.azure-devices.net/devices/my_device": {"", "SharedAccessSignature " +
			"sr=myiothub.azure-devices.net%2Fdevices%2Fmy_device" +
			"&sig=2WNGUD4J%2FoXOR%2F3q1tbGcEua%2FY6xZMAuAShZeReq%2Flk%3D&se=1578941692"},
		"0ne00FA110E/registrations/dev1": {"registration", "SharedAccessSignature " +
			"sr=0ne00FA110E%2Fregistrations%2Fdev1" +
			"&sig=dlkWHi7jgEd4ZzQIrtdD2oMEAneS2rYLoBPt1uhDdXA%3D&se=1578941692&skn=registration"},
	} {
		if got := transport.SAS(resource, c.name, key(t, secret), expires); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// The group key, the registration ID and the device key are an example of Microsoft's documents.
func TestADerivedKeyIsThatOfTheDocumentation(t *testing.T) {
	const groupKey = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==\n"
	group, err := transport.ParseKey(groupKey)
	if err != nil {
		t.Fatal(err)
	}
	device, err := transport.ParseKey("Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=")
	if err != nil {
		t.Fatal(err)
	}
	derived := group.Derive("sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6")
	if now := time.Now(); transport.SAS("r", "", derived, now) != transport.SAS("r", "", device, now) {
		t.Error("the derived key differs")
	}
}

func TestAnInvalidKeyIsRefusedAndNotQuoted(t *testing.T) {
	for _, text := range []string{
		"", "=", "c2hvcnQ=", "not base64 at all!", strings.Repeat("A", 63), "c2VjcmV0c2VjcmV0c2VjcmV0\x00",
	} {
		_, err := transport.ParseKey(text)
		if err == nil || text != "" && text != "=" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAKeyHasAtLeast16Bytes(t *testing.T) {
	for bytes, ok := range map[int]bool{15: false, 16: true, 64: true} {
		text := base64.StdEncoding.EncodeToString(make([]byte, bytes))
		if _, err := transport.ParseKey(text); (err == nil) != ok {
			t.Errorf("%d bytes: %v", bytes, err)
		}
	}
}

// traces are parts of the secret in the forms in which a text may show them.
var traces = []string{
	secret, "shared access", base64.StdEncoding.EncodeToString([]byte(secret)),
	hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	strings.Trim(fmt.Sprint([]byte(secret)[2:8]), "[]"), strings.Trim(fmt.Sprintf("%o", []byte(secret)[2:8]), "[]"),
	strings.Trim(fmt.Sprintf("%#v", []byte(secret)[2:6]), "[]byte{}"), "sig=",
}

func wantNoTrace(t *testing.T, of, text string) {
	t.Helper()
	for _, trace := range traces {
		if strings.Contains(text, trace) {
			t.Errorf("%s shows the key: %s", of, text)
		}
	}
}

func TestAKeyIsNeverPrinted(t *testing.T) {
	type device struct {
		Name   string
		key    transport.Key
		keys   []transport.Key
		Public transport.Key
		any    any
	}
	k := key(t, secret)
	config := transport.Config{Host: "hub", Username: "dev1", Password: func(now time.Time) (string, error) {
		return transport.SAS("hub/devices/dev1", "", k, now), nil
	}}
	d := device{"dev1", k, []transport.Key{k}, k, k}
	for _, v := range []any{k, &k, d, &d, []any{d}, map[string]device{"d": d}, config, &config} {
		for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %o %b %c %U %t %e %p") {
			wantNoTrace(t, verb+" of a "+fmt.Sprintf("%T", v), fmt.Sprintf(verb, v))
		}
		text, err := json.Marshal(v)
		wantNoTrace(t, "JSON", fmt.Sprint(string(text), err))
	}
	if text := fmt.Sprintf("%v %d %#v", k, k, k); text != "[key] [key] [key]" {
		t.Errorf("a key prints as %s", text)
	}
	if (transport.Key{}).String() != "[key]" || transport.SAS("r", "", transport.Key{}, time.Now()) == "" {
		t.Error("the zero key cannot be printed or used")
	}
}

func TestErrorsAndSessionsDoNotShowTheToken(t *testing.T) {
	inBubble(t, func(w *world) {
		code := byte(5)
		w.serve(func(p *peer) { p.next(); p.send(connack(code)); p.answerNone() })
		c := w.config()
		c.Password = func(now time.Time) (string, error) { return transport.SAS(w.host, "", key(t, secret), now), nil }
		_, err := transport.Connect(w.Context(), c)
		w.wantReason(err, transport.NotAuthorized)
		code = 0
		s, err2 := transport.Connect(w.Context(), c)
		if err2 != nil {
			w.Fatal(err2)
		}
		w.close(s)
		wantNoTrace(t, "an error", fmt.Sprintf("%v %+v %#v %v", err, err, err, s.Cause()))
		wantNoTrace(t, "a session", fmt.Sprintf("%v %+v %#v", s, s, s))
	})
}

func TestAPasswordThatThePeerSendsBackIsMasked(t *testing.T) {
	for _, password := range []string{"a password that is no token", strings.Repeat("*", 20)} {
		inBubble(t, func(w *world) {
			w.serve(func(p *peer) { p.accept(); p.send(publish(0, "<"+password+" "+password+">")); p.answerAll() })
			s := w.connect(func(c *transport.Config) {
				c.Password = func(time.Time) (string, error) {
					return password,
						nil
				}
			})
			got := make(chan string, 1)
			s.Attach(func(m transport.Message) bool { got <- string(m.Payload); return true })
			stars := strings.Repeat("*", len(password))
			if text := <-got; text != "<"+stars+" "+stars+">" {
				w.Errorf("received %q", text)
			}
		})
	}
}

func TestErrorsIsFindsTheReason(t *testing.T) {
	inner := errors.New("inner")
	err := fmt.Errorf("machine: %w", &transport.Error{Reason: transport.Silence, Host: "hub", Err: inner})
	if !errors.Is(err, transport.Silence) || !errors.Is(err, inner) || errors.Is(err, transport.Closed) {
		t.Errorf("%v", err)
	}
	bare := &transport.Error{Reason: transport.ClosedLocally, Host: "hub"}
	if bare.Error() != "transport: hub: ended" || !errors.Is(bare, transport.ClosedLocally) || errors.Is(bare, inner) {
		t.Errorf("%v", bare)
	}
	if r := transport.ReasonOf(inner); r != transport.Unknown {
		t.Errorf("%v has the reason %s", inner, r)
	}
}

func TestTheHubAcceptsTheTokenOfItsDeviceOnly(t *testing.T) {
	cloud := emulator.ForTest(t, emulator.Config{})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, cloud.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	roots, err := transport.RootsFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	group, err := transport.ParseKey(cloud.GroupKey())
	if err != nil {
		t.Fatal(err)
	}
	if err := cloud.Assign("dev1", "A"); err != nil {
		t.Fatal(err)
	}
	hub := cloud.Hub("A")
	for name, c := range map[string]struct {
		key     transport.Key
		expires time.Duration
		want    transport.Reason
	}{
		"the device's key":   {group.Derive("dev1"), time.Hour, ""},
		"another's key":      {group.Derive("dev2"), time.Hour, transport.NotAuthorized},
		"the zero key":       {transport.Key{}, time.Hour, transport.NotAuthorized},
		"an expired token":   {group.Derive("dev1"), -time.Second, transport.NotAuthorized},
		"no password at all": {transport.Key{}, 0, transport.NotAuthorized},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t, host: hub}
			config := w.config()
			config.RootCAs = transport.FixedRoots(roots)
			config.Username = hub + "/dev1/?api-version=2021-04-12"
			config.Password = func(now time.Time) (string, error) {
				return transport.SAS(hub+"/devices/dev1", "", c.key, now.Add(c.expires)), nil
			}
			if c.expires == 0 {
				config.Password = nil
			}
			s, err := transport.Connect(t.Context(), config)
			if c.want != "" {
				w.wantReason(err, c.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer w.close(s)
			err = publishAndWait(s, t.Context(), "devices/dev1/messages/events/", 1, []byte("{}"))
			if err != nil || len(cloud.Ledger()) != 1 {
				t.Errorf("%v; the hub has %v", err, cloud.Ledger())
			}
		})
	}
}

func TestAFileWithoutCertificatesIsAnError(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".missing"} {
		if _, err := transport.RootsFromFile(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestHideReplacesAKeyAndTheOneItIsDerivedFrom(t *testing.T) {
	group := key(t, secret)
	text := func(k transport.Key) string { // what quotes a key in base64
		return k.Hide("the key is " + base64.StdEncoding.EncodeToString([]byte(secret)) + ", that is " + secret + "!")
	}
	const hidden = "the key is [key]=, that is [key]!"
	if got := text(group); got != hidden {
		t.Errorf("got %s", got)
	}
	if got := text(group.Derive("dev1")); got != hidden {
		t.Errorf("with the derived key: %s", got)
	}
	if group.Hide("") != "" || (transport.Key{}).Hide(secret) != secret {
		t.Error("a text without the key was changed")
	}
}

func TestOnlySafeErrorsOfAKeySourceAreShown(t *testing.T) {
	for name, c := range map[string]struct {
		err        error
		want, hide string
	}{
		"a *KeyError": {
			fmt.Errorf("file: %w", &transport.KeyError{Err: os.ErrNotExist}), "file does not exist", "",
		},
		"of the system": {
			&os.PathError{Op: "open", Path: secret, Err: syscall.EACCES}, "permission denied", secret,
		},
		"of anything else": {
			errors.New("cannot parse " + secret), "*errors.errorString, whose text is not shown", secret,
		},
		"joined with the key": {errors.Join(errors.New(secret), syscall.ENOENT), "no such file", secret},
	} {
		inBubble(t, func(w *world) {
			w.serve((*peer).answerNone)
			config := w.config()
			config.Password = func(time.Time) (string, error) { return "", c.err }
			_, err := transport.Connect(w.Context(), config)
			w.wantReason(err, transport.KeyUnusable)
			if text := err.Error(); !strings.Contains(text, c.want) || c.hide != "" && strings.Contains(text, c.hide) {
				t.Errorf("%s: %v", name, err)
			}
			if name == "a *KeyError" && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%v hides its cause", err)
			}
		})
	}
}
