package transport

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"giantlizard.example/failover/textfile"
)

// rootsLimit is far more than all the public authorities of the world take.
const rootsLimit = 4 << 20

// FixedRoots is a source whose certificates are always the same.
func FixedRoots(pool *x509.CertPool) RootSource { return func() *x509.CertPool { return pool } }

// RootsFromFile is the system's certificate roots and those of a PEM file, which is how an
// emulator's or a company's own authority comes in. A file of which anything cannot be used is an
// error.
func RootsFromFile(name string) (*x509.CertPool, error) {
	text, err := textfile.Read(name, rootsLimit)
	if err != nil {
		return nil, err
	}
	return Roots(name, text)
}

// Roots is RootsFromFile for a text that has been read already; name is what errors call it.
func Roots(name string, text []byte) (*x509.CertPool, error) {
	certificates, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(certificates) == 0 {
		if _, err := x509.ParseCertificate(text); err == nil {
			return nil, fmt.Errorf("%s holds a certificate as DER: convert it, with openssl x509 -inform der", name)
		}
		return nil, fmt.Errorf("%s holds no PEM certificate", name)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, c := range certificates {
		pool.AddCert(c)
	}
	return pool, nil
}

// parseCertificates reads each block of a text or says which of them cannot be read: encoding/pem
// and AppendCertsFromPEM would skip it. Text between the blocks is a comment.
func parseCertificates(text []byte) (all []*x509.Certificate, err error) {
	var block []byte // so far; nil outside a block
	begun, n := 0, 0
	for number, line := range bytes.SplitAfter(text, []byte("\n")) {
		line = bytes.TrimPrefix(line, []byte("\ufeff")) // of a file that was appended to another
		begins, ends := bytes.Contains(line, []byte("-BEGIN ")), bytes.Contains(line, []byte("-END "))
		switch {
		case begins && block != nil:
			return nil, fmt.Errorf("certificate %d (line %d) has no end", n, begun)
		case ends && block == nil && !begins:
			return nil, fmt.Errorf("certificate %d, which ends in line %d, has no beginning", n+1, number+1)
		case begins:
			begun, n, block = number+1, n+1, []byte{}
		}
		if block == nil {
			continue
		}
		block = append(block, line...)
		if ends {
			c, err := parseBlock(block)
			if err != nil {
				return nil, fmt.Errorf("certificate %d (line %d) cannot be read: %w", n, begun, err)
			}
			all, block = append(all, c), nil
		}
	}
	if block != nil {
		return nil, fmt.Errorf("certificate %d (line %d) has no end", n, begun)
	}
	return all, nil
}

func parseBlock(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil || len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("it is no PEM")
	case block.Type != "CERTIFICATE":
		return nil, fmt.Errorf("its type is %.40q, and only CERTIFICATE can be used", block.Type)
	}
	return x509.ParseCertificate(block.Bytes)
}
