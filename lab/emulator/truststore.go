package emulator

import (
	"fmt"
	"os"

	"software.sslmate.com/src/go-pkcs12"
)

// TrustStorePassword is the password of TrustStore's file. Java reads a PKCS#12 file only with its
// password. The password is public, because the file holds only a certificate, which is no secret.
// It is the password that Java's own trust store has.
const TrustStorePassword = "changeit"

// TrustStore returns the certificate authority as a PKCS#12 file that Java reads as a trust store:
// the certificate has the attribute by which Java knows that it is trusted. Java reads the file
// since 8u301 and 11.0.12.
func (c *Cloud) TrustStore() ([]byte, error) {
	entry := pkcs12.TrustStoreEntry{Cert: c.identity.authority, FriendlyName: "failover-emulator"}
	text, err := pkcs12.Modern2023.EncodeTrustStoreEntries([]pkcs12.TrustStoreEntry{entry}, TrustStorePassword)
	if err != nil {
		return nil, fmt.Errorf("emulator: trust store: %w", err)
	}
	return text, nil
}

// CheckTrustStore returns an error if a file cannot be read, or is not one of TrustStore.
func CheckTrustStore(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := pkcs12.DecodeTrustStore(text, TrustStorePassword); err != nil {
		return fmt.Errorf("%s is not a PKCS#12 trust store with the password %s: %w", file, TrustStorePassword, err)
	}
	return nil
}
