package transport_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/transport"
)

// newAuthority returns the certificate of a new authority as PEM.
func newAuthority(t *testing.T) string {
	t.Helper()
	return string(emulator.ForTest(t, emulator.Config{}).CAPEM())
}

// wantTrusted checks that a pool trusts an authority.
func wantTrusted(t *testing.T, pool *x509.CertPool, text string) {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	options := x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := c.Verify(options); err != nil {
		t.Error(err)
	}
}

func TestEachCertificateOfABundleIsTrusted(t *testing.T) {
	first, second := newAuthority(t), newAuthority(t)
	for what, bundle := range map[string]string{
		"two":                   first + second,
		"with a mark":           "\ufeff" + first + second,
		"with a mark in each":   "\ufeff" + first + "\ufeff" + second,
		"with comments":         "# ours\n\nSubject: CN = 1\n" + first + "and theirs -----\n" + second + "\n\n",
		"from Windows":          strings.ReplaceAll(first+second, "\n", "\r\n"),
		"without its last line": first + strings.TrimSuffix(second, "\n"),
	} {
		t.Run(what, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(file, []byte(bundle), 0o600); err != nil {
				t.Fatal(err)
			}
			pool, err := transport.RootsFromFile(file)
			if err != nil {
				t.Fatal(err)
			}
			wantTrusted(t, pool, first)
			wantTrusted(t, pool, second)
		})
	}
}

func TestAnUnreadableCertificateIsNamedWithItsLine(t *testing.T) {
	good := newAuthority(t)
	lines := strings.SplitAfter(good, "\n")
	first, last := lines[0], lines[len(lines)-2]
	body := strings.Join(lines[1:len(lines)-2], "")
	next := len(lines) // the line after good
	place := func(line int) string { return "certificate 2 (line " + strconv.Itoa(line) + ")" }
	for _, c := range []struct{ what, text, want string }{
		{"damaged base64", good + first + "!" + body + last + good, place(next) + " cannot be read"},
		{"damaged DER", good + "\n# theirs\n" + first + "AAAA\n" + last, place(next+2) + " cannot be read"},
		{"cut off", good + first + body, place(next) + " has no end"},
		{"an end that is missing", good + first + body + good, place(next) + " has no end"},
		{"a beginning that is missing", good + body + last, "certificate 2, which ends in line"},
		{"a damaged beginning", good + "--" + first[3:] + body + last, place(next) + " cannot be read"},
		{"an indented block", good + "  " + first + body + last, place(next) + " cannot be read"},
		{"a key", good + strings.ReplaceAll(good, "CERTIFICATE", "PRIVATE KEY"), `its type is "PRIVATE KEY"`},
		{"OpenSSL's own form", good + strings.ReplaceAll(good, "CERTIFICATE", "TRUSTED CERTIFICATE"),
			`its type is "TRUSTED CERTIFICATE"`},
		{"nothing", "# none\n", "holds no PEM certificate"},
		{"DER", der(t, good), "openssl x509 -inform der"},
	} {
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		pool, err := transport.RootsFromFile(file)
		if pool != nil || err == nil || !strings.Contains(err.Error(), "ca.pem") ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.what, err, c.want)
		}
	}
}

func TestABundleInUTF16IsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := "\xff\xfe"
	for _, c := range []byte(newAuthority(t)) {
		text += string([]byte{c, 0})
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := transport.RootsFromFile(file)
	if err == nil || !strings.Contains(err.Error(), file+" cannot be read: it is UTF-16") {
		t.Error(err)
	}
}

func der(t *testing.T, text string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	return string(block.Bytes)
}
