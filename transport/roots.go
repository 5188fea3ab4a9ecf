package transport

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"giantlizard.example/failover/textfile"
)

// rootsLimit bounds the size of the file, in bytes. It is far more than the certificates of all
// public authorities together.
const rootsLimit = 4 << 20

// FixedRoots returns a source that always returns the same roots.
func FixedRoots(pool *x509.CertPool) RootSource { return func() *x509.CertPool { return pool } }

// RootsFromFile returns the system's certificate roots and those of a PEM file, such as a company's own
// authority or that of the emulator. A block in the file that is not a certificate is an error.
func RootsFromFile(name string) (*x509.CertPool, error) {
	text, err := textfile.Read(name, rootsLimit)
	if err != nil {
		return nil, err
	}
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

// parseCertificates parses each PEM block of a text. Its error names the block that cannot be parsed,
// which encoding/pem and AppendCertsFromPEM would skip. Text between blocks is a comment.
func parseCertificates(text []byte) (all []*x509.Certificate, err error) {
	var block []byte // the lines of the current block; nil means outside of a block
	begun, n := 0, 0
	for number, line := range bytes.SplitAfter(text, []byte("\n")) {
		line = bytes.TrimPrefix(line, []byte("\ufeff")) // a byte order mark, of a file that was appended to another
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
		return nil, errors.New("it is not valid PEM: copy the certificate again, from its BEGIN line to its END line")
	case block.Type != "CERTIFICATE":
		return nil, fmt.Errorf("its type is %.40q, and only CERTIFICATE can be used", block.Type)
	}
	return x509.ParseCertificate(block.Bytes)
}
