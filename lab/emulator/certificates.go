package emulator

import (
	"crypto/tls"
	"time"
)

// The faults of an endpoint's certificate. An endpoint has at most one at a time. Existing
// connections stay.
const (
	CertificateExpired Fault = "certificate-expired"
	CertificateEarly   Fault = "certificate-early"
	CertificateForeign Fault = "certificate-foreign"
	CertificateName    Fault = "certificate-name"
)

// wrongName is the name in the certificate of CertificateName.
const wrongName = "wrong.invalid"

// badCertificates makes the certificates of the faults. It runs at the start, because the
// authority's key is not kept.
func (a *authority) badCertificates(hosts []string) (map[Fault]*tls.Config, error) {
	foreign, err := newAuthority("somebody else's emulator", namesFor(hosts))
	if err != nil {
		return nil, err
	}
	expired, early := serverTemplate(hosts), serverTemplate(hosts)
	// The clock of a testing/synctest bubble starts one day later.
	expired.NotAfter = time.Date(1999, time.December, 31, 0, 0, 0, 0, time.UTC)
	early.NotBefore = validUntil.AddDate(-1, 0, 0)
	named := serverTemplate(nil)
	named.IPAddresses, named.DNSNames = nil, []string{wrongName}

	configs := map[Fault]*tls.Config{}
	for fault, sign := range map[Fault]func() (*tls.Config, error){
		CertificateExpired: func() (*tls.Config, error) { return a.sign(expired) },
		CertificateEarly:   func() (*tls.Config, error) { return a.sign(early) },
		CertificateForeign: func() (*tls.Config, error) { return foreign.sign(serverTemplate(hosts)) },
		CertificateName:    func() (*tls.Config, error) { return a.sign(named) },
	} {
		if configs[fault], err = sign(); err != nil {
			return nil, err
		}
	}
	return configs, nil
}

// certificate returns the TLS configuration for a new connection.
func (f *frontend) certificate() *tls.Config {
	for fault, config := range f.cloud.identity.badCertificates {
		if f.cloud.triggered(fault, f.faults) != nil {
			return config
		}
	}
	return f.cloud.identity.server
}
