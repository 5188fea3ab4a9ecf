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
	"time"
)

// An authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	der         []byte
	key         *ecdsa.PrivateKey
}

// names are what an authority may sign for: people put it into trust stores, so it is good for nothing but this machine and the
// names by which the emulator is reached. wrongName is for the fault of that name; nobody can have it.
type permittedNames struct {
	dns []string
	ips []*net.IPNet
}

func namesFor(hosts []string) permittedNames {
	_, loopback, _ := net.ParseCIDR("127.0.0.0/8")
	n := permittedNames{dns: []string{"localhost", wrongName}, ips: []*net.IPNet{loopback}} // localhost is also all below it
	for _, host := range append([]string{"::1"}, hosts...) {
		n.add(host)
	}
	return n
}

func (n *permittedNames) add(host string) {
	ip := net.ParseIP(host)
	switch {
	case ip == nil && IsHostName(host) && !slices.Contains(n.dns, host):
		n.dns = append(n.dns, host)
	case ip != nil && !slices.ContainsFunc(n.ips, func(x *net.IPNet) bool { return x.Contains(ip) }):
		if four := ip.To4(); four != nil {
			ip = four
		}
		n.ips = append(n.ips, &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))})
	}
}

// newAuthority makes one. Name constraints are critical (RFC 5280, 4.2.1.10), so who does not know them trusts nothing.
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

// serialNumber is a random one: browsers refuse two certificates of one authority with the same.
func serialNumber() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100)) // it never fails
	return n.Add(n, big.NewInt(1))
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

// permits returns an error if a certificate for these hosts would not be trusted by whoever trusts the authority.
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
	authorityLimit = 64 << 10 // bytes of a file, far more than it takes
	keyBlock       = "EC PRIVATE KEY"
)

// loadAuthority reads the authority that saveAuthority has written. When there is none yet, or it cannot be used for these hosts, it
// makes another one, which permits what the one before did; isNew says so, and why is the reason if there was one.
func loadAuthority(file, name string, hosts []string) (a *authority, isNew bool, why, err error) {
	permitted := namesFor(hosts)
	var usages []x509.ExtKeyUsage
	if file != "" {
		usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} // name constraints say nothing of mail, programs and clients
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
			return nil, errors.New("it is damaged")
		}
	}
	if a.certificate == nil || a.key == nil || !a.key.PublicKey.Equal(a.certificate.PublicKey) {
		return nil, errors.New("it holds no authority with its key")
	}
	return a, nil
}

// save writes the authority and its key to a file that only the owner may read. It takes the place of replaced, which may not be
// there; if somebody has made another one meanwhile, that stays.
func (a *authority) save(file string, replaces bool) error {
	key, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(file)+".*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
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
		return fmt.Errorf("another emulator may have made it at this moment: %w", err)
	}
	return nil
}
