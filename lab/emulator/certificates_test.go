package emulator_test

import (
	"crypto/x509"
	"errors"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

func TestEachCertificateFaultMakesTheCertificateInvalid(t *testing.T) {
	for fault, is := range map[emulator.Fault]func(error) bool{
		emulator.CertificateExpired: isInvalid("expired"),
		emulator.CertificateEarly:   isInvalid("early"),
		emulator.CertificateForeign: func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) },
		emulator.CertificateName:    func(err error) bool { return errors.As(err, new(x509.HostnameError)) },
	} {
		t.Run(string(fault), func(t *testing.T) {
			onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
				there := w.mustConnect(login{hub: "A"})
				for target, address := range map[string]string{"DPS": w.DPSHost(), "A": w.Hub("A")} {
					dial := func() error {
						conn, err := dialTLS(w, login{}.complete(w).dial, address)
						if err == nil {
							conn.Close()
						}
						return err
					}
					w.mustInject(target, fault, emulator.Params{})
					if err := dial(); err == nil || !is(err) {
						t.Errorf("%s: %v", target, err)
					}
					w.mustClear(target, fault)
					if err := dial(); err != nil {
						t.Errorf("%s after Clear: %v", target, err)
					}
				}
				there.mustPublish(events, "undisturbed")
				w.wantNoViolation()
			})
		})
	}
}

// isInvalid returns a function that reports whether an error has this text. crypto/x509 has the same
// reason for a certificate that has expired and for one that is not valid yet.
func isInvalid(when string) func(error) bool {
	return func(err error) bool {
		var invalid x509.CertificateInvalidError
		if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
			return false
		}
		early := invalid.Cert.NotBefore.Year() > 2040
		return early == (when == "early")
	}
}

func TestAnEndpointHasOneBadCertificateAtATime(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustInject("A", emulator.CertificateName, emulator.Params{})
		w.mustInject("A", emulator.CertificateExpired, emulator.Params{})
		if active := w.ActiveFaults(); len(active) != 1 || active[0].Fault != emulator.CertificateExpired {
			t.Errorf("the active faults are %+v", active)
		}
	})
}
