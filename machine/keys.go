package machine

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"giantlizard.example/failover/transport"
)

// DeviceKey returns a source of the device's own key. text is the key in base64, as Azure shows it. If text
// is not a valid key, the first attempt to connect fails with an error that does not quote text.
func DeviceKey(text string) KeySource {
	return func() (Key, error) { return transport.ParseKey(text) }
}

// GroupKey returns a source of the key that a device derives from the key of its enrollment group. text is
// the group's key in base64. The derived key is the HMAC-SHA256 of the registration ID, which must be spelled
// as in Identity.RegistrationID (azure-docs iot-dps/concepts-symmetric-key-attestation.md). Errors are those
// of DeviceKey.
func GroupKey(text, registrationID string) KeySource {
	return func() (Key, error) {
		key, err := transport.ParseKey(text)
		return key.Derive(registrationID), err
	}
}

// keysHidden is the number of keys that a keyring hides. After a rotation, texts may still show an older key.
const keysHidden = 4

// A keyring reads the device's key from its source, and hides the latest keys in texts.
type keyring struct {
	source KeySource
	calls  *calls
	latest atomic.Pointer[[]Key] // different keys, the newest first; nil means that none was read yet
}

// read returns the key that the source returns. If the source panics, read returns an error. The error quotes
// the panic only if the Go runtime caused it, because any other panic value may contain the key.
func (k *keyring) read() (key Key, err error) {
	defer func() {
		switch reason := recover().(type) {
		case nil:
		case runtime.Error:
			err = &transport.KeyError{Err: fmt.Errorf("the key source panicked: %w", reason)}
		default:
			err = fmt.Errorf("the key source panicked with a %T, whose text may contain the key", reason)
			err = &transport.KeyError{Err: err}
		}
	}()
	if err := k.calls.begin("Identity.Key"); err != nil {
		return Key{}, &transport.KeyError{Err: err}
	}
	defer k.calls.end()
	key, err = k.source()
	if err == nil {
		k.remember(key)
	}
	return key, err
}

func (k *keyring) remember(key Key) {
	keys := []Key{key}
	for _, old := range k.keys() {
		if len(keys) < keysHidden && !old.Equal(key) {
			keys = append(keys, old)
		}
	}
	k.latest.Store(&keys)
}

func (k *keyring) keys() []Key {
	if keys := k.latest.Load(); keys != nil {
		return *keys
	}
	return nil
}

// hide returns text with every occurrence of the latest keys replaced by "[key]".
func (k *keyring) hide(text string) string {
	for _, key := range k.keys() {
		text = key.Hide(text)
	}
	return text
}

// hideIn returns err, or an error that wraps err and hides the keys in its text.
func (k *keyring) hideIn(err error) error {
	if err == nil {
		return nil
	}
	if text := k.hide(err.Error()); text != err.Error() {
		return &hiding{err, text}
	}
	return err
}

// A hiding is an error with another text.
type hiding struct {
	error
	text string
}

func (e *hiding) Error() string { return e.text }

func (e *hiding) Unwrap() error { return e.error }
