package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// An authority is a certificate authority with its key.
type authority struct {
	certificate *x509.Certificate
	der         []byte
	key         *ecdsa.PrivateKey
}

// permittedNames are the names that an authority may sign certificates for. People put the
// authority into trust stores, so it must be valid only for this machine and the hosts of the
// emulator. wrongName is for the fault CertificateName; it is in a reserved domain.
type permittedNames struct {
	dns []string
	ips []*net.IPNet
}

func namesFor(hosts []string) permittedNames {
	_, loopback, _ := net.ParseCIDR("127.0.0.0/8")
	// A permitted DNS name includes its subdomains.
	n := permittedNames{dns: []string{"localhost", wrongName}, ips: []*net.IPNet{loopback}}
	for _, host := range append([]string{"::1"}, hosts...) {
		n.add(host)
	}
	return n
}

func (n *permittedNames) add(host string) {
	ip := net.ParseIP(host)
	switch {
	case strings.HasSuffix(host, ".localhost"): // localhost permits it
	case ip == nil && IsHostName(host) && !slices.Contains(n.dns, host):
		n.dns = append(n.dns, host)
	case ip != nil && !slices.ContainsFunc(n.ips, func(x *net.IPNet) bool { return x.Contains(ip) }):
		if four := ip.To4(); four != nil {
			ip = four
		}
		n.ips = append(n.ips, &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))})
	}
}

// newAuthority makes an authority. Its name constraints are critical (RFC 5280, 4.2.1.10), so that
// software which does not know them does not trust it.
func newAuthority(name string, permitted permittedNames, usages ...x509.ExtKeyUsage) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: name},
		NotBefore: validFrom, NotAfter: validUntil,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		ExtKeyUsage:                 usages,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: permitted.dns, PermittedIPRanges: permitted.ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, der, key}, err
}

// serialNumber returns a random number. Browsers refuse two certificates of one authority with the
// same serial number.
func serialNumber() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100)) // rand.Int never fails with rand.Reader
	return n.Add(n, big.NewInt(1))
}

// sign signs a certificate with a new key and returns a server's TLS configuration with both.
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
		// Azure promises only TLS 1.2 for its services.
		MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12,
	}, nil
}

// permits returns an error if clients that trust the authority would refuse its certificate for these
// hosts, for example because the name constraints of the authority exclude a host.
func (a *authority) permits(hosts []string) error {
	server, err := a.sign(serverTemplate(hosts))
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(server.Certificates[0].Certificate[0])
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: time.Now()})
	return err
}

const (
	authorityLimit = 64 << 10 // largest size of the authority's file in bytes; far above the real size
	keyBlock       = "EC PRIVATE KEY"
)

// loadAuthority reads the authority from a file. If there is no file, or if the authority in the
// file cannot be used for these hosts, loadAuthority makes a new authority, which also permits all
// names of the old one. isNew reports whether the returned authority is new. why is the reason why
// the old authority cannot be used; nil means that the old one is used or did not exist.
func loadAuthority(file, name string, hosts []string) (a *authority, isNew bool, why, err error) {
	permitted := namesFor(hosts)
	var usages []x509.ExtKeyUsage
	if file != "" {
		// A saved authority may sign only certificates of servers, because name constraints do not limit
		// certificates for mail, code and clients.
		usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		a, why = readAuthority(file)
		if why == nil {
			why = a.permits(hosts)
		}
		if why == nil {
			return a, false, nil, nil
		}
		if a != nil {
			permitted.dns = union(permitted.dns, a.certificate.PermittedDNSDomains)
			for _, ip := range a.certificate.PermittedIPRanges {
				permitted.add(ip.IP.String())
			}
		}
	}
	if errors.Is(why, fs.ErrNotExist) {
		why = nil
	}
	a, err = newAuthority(name, permitted, usages...)
	return a, true, why, err
}

func union(a, b []string) []string {
	for _, x := range b {
		if !slices.Contains(a, x) {
			a = append(a, x)
		}
	}
	return a
}

func readAuthority(file string) (*authority, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, authorityLimit))
	if err != nil {
		return nil, err
	}
	a := &authority{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			a.der = block.Bytes
			a.certificate, err = x509.ParseCertificate(block.Bytes)
		case keyBlock:
			a.key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			return nil, errors.New("the file is damaged")
		}
	}
	if a.certificate == nil || a.key == nil || !a.key.PublicKey.Equal(a.certificate.PublicKey) {
		return nil, errors.New("the file must hold a CA certificate and the private key of that certificate")
	}
	return a, nil
}

// save writes the authority and its key to a file that only the owner may read. If replaces is
// false, save does not overwrite a file that another emulator has written meanwhile.
func (a *authority) save(file string, replaces bool) error {
	key, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(file)+".*") // CreateTemp sets mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails without harm if the file was renamed
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: a.der}, {Type: keyBlock, Bytes: key}} {
		err = errors.Join(err, pem.Encode(f, block))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if replaces {
		return os.Rename(f.Name(), file)
	}
	if err := os.Link(f.Name(), file); err != nil {
		return fmt.Errorf("another emulator may have written it at the same time: %w", err)
	}
	return nil
}
