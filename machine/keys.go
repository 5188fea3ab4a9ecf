package machine

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"giantlizard.example/failover/transport"
)

// DeviceKey returns a source of the device's own key, in base64 as Azure shows it. Why it cannot be used is said at the
// first attempt to connect; the text is not quoted.
func DeviceKey(text string) KeySource {
	return func() (Key, error) { return transport.ParseKey(text) }
}

// GroupKey returns a source of the key that a device derives from the key of its enrollment group, which is in
// base64. The derivation is that of azure-docs iot-dps/concepts-symmetric-key-attestation.md: HMAC-SHA256 of
// the registration ID, in the spelling of Identity.RegistrationID. Errors are those of DeviceKey.
func GroupKey(text, registrationID string) KeySource {
	return func() (Key, error) {
		key, err := transport.ParseKey(text)
		return key.Derive(registrationID), err
	}
}

// A keyring reads the device's key, and keeps the latest one out of texts.
type keyring struct {
	source KeySource
	latest atomic.Pointer[Key]
}

// read asks the key source. A panic of the source is an error; its text is shown only if it is the Go
// runtime's, because any other may contain the key.
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
	key, err = k.source()
	if err == nil {
		k.latest.Store(&key)
	}
	return key, err
}

// hide returns a text with [key] in the place of the key.
func (k *keyring) hide(text string) string {
	if key := k.latest.Load(); key != nil {
		return key.Hide(text)
	}
	return text
}
