package emulator_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"giantlizard.example/failover/lab/emulator"
)

func TestTrustStoreHoldsTheAuthorityAlone(t *testing.T) {
	cloud := emulator.ForTest(t, emulator.Config{})
	text, err := cloud.TrustStore()
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := pkcs12.DecodeTrustStore(text, emulator.TrustStorePassword)
	block, _ := pem.Decode(cloud.CAPEM())
	if err != nil || len(certificates) != 1 || !bytes.Equal(certificates[0].Raw, block.Bytes) {
		t.Errorf("it holds %d certificates, %v", len(certificates), err)
	}
	file := filepath.Join(t.TempDir(), "ca.p12")
	for name, c := range map[string]struct {
		text []byte
		ok   bool
	}{"the trust store": {text, true}, "PEM": {cloud.CAPEM(), false}, "half of it": {text[:len(text)/2], false}} {
		if err := os.WriteFile(file, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := emulator.CheckTrustStore(file); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An authority of an earlier version permits these names, too, because it permits localhost and all
// names below it.
func TestTheCertificateHasANameBelowLocalhostForEachEndpoint(t *testing.T) {
	cloud := emulator.ForTest(t, emulator.Config{Hubs: []string{"A", "B", "a hub"}})
	leaf, err := x509.ParseCertificate(cloud.Certificate().Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"dps.localhost": true, "hub-a.localhost": true, "hub-b.localhost": true, "localhost": true, "127.0.0.1": true,
		"hub-c.localhost": false, "dps.example": false,
	} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: cloud.CAPool(), DNSName: name})
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
