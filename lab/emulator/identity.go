package emulator

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"time"
)

// An identity is the certificate authority of the emulator with the certificates of DPS and the
// hubs.
type identity struct {
	pem             []byte
	authority       *x509.Certificate
	pool            *x509.CertPool
	server          *tls.Config
	badCertificates map[Fault]*tls.Config
	save            func() error // saves a new authority; nil means that there is nothing to save
	replaced        error        // why the saved authority is not used; nil means that it is used or did not exist
}

// The certificates are backdated, because the clock of a testing/synctest bubble starts in 2000.
var (
	validFrom  = time.Date(1990, time.January, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(2049, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// newIdentity loads the authority from a file, or makes a new one. It makes a certificate that is
// valid for localhost, ::1, 127.0.0.1 and the given hosts, and the certificates of the certificate
// faults.
func newIdentity(file string, hosts []string) (*identity, error) {
	a, isNew, why, err := loadAuthority(file, "failover emulator, for development only", hosts)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.der})
	id := &identity{pem: text, authority: a.certificate, pool: x509.NewCertPool(), replaced: why}
	if isNew && file != "" {
		id.save = func() error { return a.save(file, why != nil) }
	}
	id.pool.AddCert(a.certificate)
	if id.server, err = a.sign(serverTemplate(hosts)); err != nil {
		return nil, err
	}
	id.badCertificates, err = a.badCertificates(hosts)
	return id, err
}

func serverTemplate(hosts []string) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: "failover emulator"},
		NotBefore: validFrom, NotAfter: validUntil,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range append([]string{"localhost", "127.0.0.1", "::1"}, hosts...) {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if IsHostName(host) {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template
}

// IsHostName reports whether a certificate can contain the name. Underscores are allowed, because
// names of containers may contain underscores. The name of a hub may be any other text.
func IsHostName(name string) bool {
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		default:
			return false
		}
	}
	return name != "" && name[0] != '.' && name[len(name)-1] != '.'
}
