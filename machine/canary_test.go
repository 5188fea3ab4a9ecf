package machine_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/transport"
)

// Secrets are put in wherever the device hears something, in all their forms, and looked for in all that it
// says. What the command prints and writes is looked at in cmd/failover/canary_test.go.

const (
	canaryGroup  = "The canary of the group 4711, which is 64 bytes long as Azure's."
	canaryDevice = "The canary of 1 device: 32 bytes"
)

// A canary is a secret in its forms.
type canary map[string]string // how it is written -> the text

func newCanary(secret []byte) canary {
	text := base64.StdEncoding.EncodeToString(secret)
	return canary{
		"raw": string(secret), "base64": text, "base64 for URLs": base64.URLEncoding.EncodeToString(secret),
		"URL-encoded": url.QueryEscape(text), "hex": hex.EncodeToString(secret),
		"HEX": strings.ToUpper(hex.EncodeToString(secret)),
	}
}

// tokenCanaries are those of a SAS token: the whole of it, which is text, and its signature.
func tokenCanaries(t *testing.T, token string) (whole, signature canary) {
	t.Helper()
	whole = newCanary([]byte(token))
	whole["URL-encoded"] = url.QueryEscape(token)
	_, rest, _ := strings.Cut(token, "&sig=")
	escaped, _, _ := strings.Cut(rest, "&")
	text, err := url.QueryUnescape(escaped)
	raw, bad := base64.StdEncoding.DecodeString(text)
	if err != nil || bad != nil || len(raw) != 32 {
		t.Errorf("%q has no signature", token)
	}
	return whole, newCanary(raw)
}

// wantNone looks for the canary as it is, as Go quotes it and as JSON writes it.
func (c canary) wantNone(t *testing.T, where, text string) {
	t.Helper()
	for how, form := range c {
		quoted := strconv.Quote(form)
		inJSON, _ := json.Marshal(form)
		for _, form := range []string{form, quoted[1 : len(quoted)-1], strings.Trim(string(inJSON), `"`)} {
			if strings.Contains(text, form) {
				t.Errorf("%s: a secret (%s) is in\n%s", where, how, text)
				break
			}
		}
	}
}

// said is all that the device has said: every field of every record, and what is printed of them in both formats.
func (w *world) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var text bytes.Buffer
	console, lines := observe.NewPrinter(&text, false, observe.Debug), observe.NewPrinter(&text, true, observe.Debug)
	for _, r := range w.records {
		console(r)
		lines(r)
		whole, _ := json.Marshal(r)
		fmt.Fprintf(&text, "%s\n%+v\n", whole, r)
	}
	return text.String()
}

// groupSource derives the device's key, as a program does that is given the group's.
func groupSource() (transport.Key, error) {
	key, err := transport.ParseKey(base64.StdEncoding.EncodeToString([]byte(canaryGroup)))
	return key.Derive(deviceID), err
}

// groupCanaries are the group's key and the device's that is derived from it.
func groupCanaries() map[string]canary {
	return map[string]canary{"group": newCanary([]byte(canaryGroup)),
		"derived": newCanary(derived([]byte(canaryGroup)))}
}

func TestAKeySourceThatQuotesTheKeyIsNotQuoted(t *testing.T) {
	slow.Test(t)
	errs := map[string]func(text string) error{
		"text":    func(text string) error { return errors.New("cannot parse " + text) },
		"wrapped": func(text string) error { return fmt.Errorf("key store: %w", fmt.Errorf("cannot parse %q", text)) },
		"path":    func(text string) error { return &fs.PathError{Op: "open", Path: text, Err: os.ErrNotExist} },
	}
	for kind, newError := range errs {
		for how, form := range newCanary([]byte(canaryDevice)) {
			for _, when := range []string{"at first", "later"} {
				t.Run(fmt.Sprint(kind, " ", how, " ", when), func(t *testing.T) {
					failing := when == "at first"
					bubble(t, func(s *machine.Settings) {
						good := s.Identity.Key
						s.Identity.Key = func() (transport.Key, error) {
							if failing {
								return transport.Key{}, newError(form)
							}
							return good()
						}
					}, func(t *testing.T, w *world) {
						if failing {
							w.live()
						} else {
							w.connected()
							failing = true
							_ = w.device.Fire(t.Context(), machine.Renew)
						}
						time.Sleep(5 * time.Minute)
						said := w.said()
						if !strings.Contains(said, `"cause":"key"`) && !strings.Contains(said, "key source failed") {
							t.Errorf("it does not say that there is no key:\n%s", said)
						}
						newCanary([]byte(canaryDevice)).wantNone(t, "the records", said)
						newCanary([]byte(canaryDevice)).wantNone(t, "the end", fmt.Sprint(w.close()))
					})
				})
			}
		}
	}
}

func TestAKeySourceSaysWhyWithAKeyError(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		s.Identity.Key = func() (transport.Key, error) {
			return transport.Key{},
				fmt.Errorf("key %s: %w", canaryDevice, &transport.KeyError{Err: errors.New("the key store is locked")})
		}
	}, func(t *testing.T, w *world) {
		w.live()
		time.Sleep(time.Minute)
		if said := w.said(); !strings.Contains(said, "key: the key store is locked") ||
			strings.Contains(said, canaryDevice) {
			t.Errorf("it says\n%s", said)
		}
	})
}

// The cloud or an operator may use the key as the ID of a message, or as the name of a method.
func TestAKeyThatTheCloudSendsIsNotShown(t *testing.T) {
	release := make(chan struct{})
	own := newCanary(derived([]byte(canaryGroup)))
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		config := emulator.Config{GroupKey: base64.StdEncoding.EncodeToString([]byte(canaryGroup))}
		w := newWorld(t, true, config, func(s *machine.Settings) {
			s.Identity.Key = groupSource
			s.Handlers.Command = func(context.Context, machine.Message) error { return nil }
			s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) {
				<-release
				return 200, nil, nil
			}
		})
		w.connected()
		for _, how := range []string{"base64", "base64 for URLs", "hex", "HEX"} {
			if err := w.cloud.SendMessage(deviceID, emulator.Message{ID: own[how], Body: []byte("1")}); err != nil {
				t.Fatal(err)
			}
			_ = w.device.Fire(t.Context(), machine.Event(own[how]))
			go w.cloud.InvokeMethod(context.Background(), deviceID, own[how], nil)
		}
		synctest.Wait()
		end := fmt.Sprint(w.close())
		if !strings.Contains(end, "have not returned") {
			t.Errorf("run: %s", end)
		}
		own.wantNone(t, "the records", w.said())
		own.wantNone(t, "the end", end)
		close(release)
	})
}

func TestKeysThatWereRotatedAreNotShown(t *testing.T) {
	bubble(t, func(s *machine.Settings) {
		good, reads := s.Identity.Key, 0
		s.Identity.Key = func() (machine.Key, error) {
			if reads++; reads > 2 { // for DPS and the hub
				return groupSource()
			}
			return good()
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		old, err := w.cloud.DeviceKey(deviceID)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.device.Fire(t.Context(), machine.Renew)
		time.Sleep(10 * time.Minute) // the new key, which the hub refuses, is read more than once
		own := newCanary(derived([]byte(canaryGroup)))
		w.device.Warn(fmt.Errorf("the keys are %s and %s", old, own["base64"]))
		synctest.Wait()
		if said := w.said(); strings.Contains(said, old) || !strings.Contains(said, "the keys are [key]= and [key]=") {
			t.Errorf("the records show a key: %s", said)
		}
		own.wantNone(t, "the records", w.said())
	})
}

// A handler may have the key, and what it stumbles over may hold it. The caller is in the cloud and need not know it.
func TestAHandlerThatFailsWithTheKeyGivesItToNobody(t *testing.T) {
	var settings machine.Settings
	key, _ := groupSource()
	stumbles := map[string]any{"the settings": &settings, "the key": key, "a struct": struct{ k transport.Key }{key}}
	for which, c := range groupCanaries() {
		for how, form := range c {
			stumbles[which+" key "+how] = "cannot use " + form
			stumbles[which+" key, as an error, "+how] = fmt.Errorf("cannot use %q", form)
		}
	}
	for what, value := range stumbles {
		for _, panics := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, panic %t", what, panics), func(t *testing.T) {
				stumble := func() error {
					if panics {
						panic(value)
					}
					return fmt.Errorf("%+v", value)
				}
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, true,
						emulator.Config{GroupKey: base64.StdEncoding.EncodeToString([]byte(canaryGroup))},
						func(s *machine.Settings) {
							s.Identity.Key = groupSource
							s.Handlers = machine.Handlers{
								Method: func(context.Context, string, json.RawMessage) (int, any, error) {
									return 0,
										nil, stumble()
								},
								Command: func(context.Context, machine.Message) error { return stumble() },
								Desired: func(context.Context, machine.PropertyName,
									json.RawMessage) (machine.PropertyAck, error) {
									return machine.PropertyAck{}, stumble()
								},
							}
							settings = *s
						})
					w.connected()
					_, answer := w.call("m", "")
					_ = w.cloud.SetDesired(deviceID, map[string]any{"a": 1})
					_ = w.cloud.SendCommand(deviceID, "c", nil)
					w.device.Warn(fmt.Errorf("%+v", value))
					synctest.Wait()
					_, reported, _, _ := w.cloud.Twin(deviceID)
					end := fmt.Sprint(w.close())
					if said := w.said(); strings.Count(said, `"kind":"handled"`) < 3 || reported["a"] == nil {
						t.Errorf("not all handlers were called:\n%s", said)
					}
					for which, c := range groupCanaries() {
						c.wantNone(t, which+", the records", w.said())
						c.wantNone(t, which+", the caller", answer)
						c.wantNone(t, which+", the twin", fmt.Sprint(reported))
						c.wantNone(t, which+", the end", end)
					}
				})
			})
		}
	}
}

// derived is the device's key as the documents derive it from the group's.
func derived(group []byte) []byte {
	mac := hmac.New(sha256.New, group)
	mac.Write([]byte(deviceID))
	return mac.Sum(nil)
}
