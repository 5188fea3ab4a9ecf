package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// An identity is the emulator's certificate authority and the certificates it gave to DPS and the hubs. The authority's
// key is forgotten once they are signed, so trusting it trusts nothing else.
type identity struct {
	pem    []byte
	pool   *x509.CertPool
	server *tls.Config
	bad    map[Fault]*tls.Config
}

// The certificates are backdated, because the clock of a testing/synctest bubble starts in 2000.
var (
	validFrom  = time.Date(1990, time.January, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(2049, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// An authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	der         []byte
	key         *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: validFrom, NotAfter: validUntil,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, der, key}, err
}

// sign makes what a server needs.
func (a *authority) sign(template *x509.Certificate) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der, a.der}, PrivateKey: key}},
		// The services promise TLS 1.2 and no more.
		MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12,
	}, nil
}

// newIdentity makes a certificate that is good for localhost, ::1, 127.0.0.1 and the given hosts, and the bad ones.
func newIdentity(hosts []string) (*identity, error) {
	a, err := newAuthority("failover emulator, for development only")
	if err != nil {
		return nil, err
	}
	id := &identity{pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.der}), pool: x509.NewCertPool()}
	id.pool.AddCert(a.certificate)
	if id.server, err = a.sign(serverTemplate(hosts)); err != nil {
		return nil, err
	}
	id.bad, err = a.badCertificates(hosts)
	return id, err
}

func serverTemplate(hosts []string) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "failover emulator"},
		NotBefore: validFrom, NotAfter: validUntil,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range append([]string{"localhost", "127.0.0.1", "::1"}, hosts...) {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if isHostName(host) {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template
}

// isHostName tells names that a certificate can hold; a hub may have been given any other.
func isHostName(name string) bool {
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.':
		default:
			return false
		}
	}
	return name != "" && name[0] != '.' && name[len(name)-1] != '.'
}
