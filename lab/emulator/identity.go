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

// An identity is the emulator's certificate authority and the certificate it gave to DPS and the hubs. The authority's key
// is forgotten once that is signed, so trusting it trusts nothing else.
type identity struct {
	pem    []byte
	pool   *x509.CertPool
	server *tls.Config
}

// The certificates are backdated, because the clock of a testing/synctest bubble starts in 2000.
var (
	validFrom  = time.Date(1990, time.January, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(2049, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// newIdentity makes a certificate that is good for localhost, ::1, 127.0.0.1 and the given hosts.
func newIdentity(hosts []string) (*identity, error) {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "failover emulator, for development only"},
		NotBefore: validFrom, NotAfter: validUntil,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return nil, err
	}
	if authority, err = x509.ParseCertificate(authorityDER); err != nil {
		return nil, err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, serverTemplate(hosts), authority, &serverKey.PublicKey, authorityKey)
	if err != nil {
		return nil, err
	}
	id := &identity{pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER}), pool: x509.NewCertPool()}
	id.pool.AddCert(authority)
	id.server = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{serverDER, authorityDER}, PrivateKey: serverKey}},
		// The services promise TLS 1.2 and no more.
		MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12,
	}
	return id, nil
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
