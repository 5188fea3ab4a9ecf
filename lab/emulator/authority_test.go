package emulator_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

// withAuthorityFile starts a cloud with an authority file. notes returns the notes so far.
func withAuthorityFile(t *testing.T, file string, config emulator.Config) (cloud *emulator.Cloud, notes func() string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	config.AuthorityFile = file
	config.Observe = func(e emulator.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == emulator.KindNote {
			all = append(all, e.Text)
		}
	}
	cloud, err := emulator.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cloud.Close() })
	return cloud, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(all, "\n")
	}
}

// verifyTrust connects to DPS like a client that trusts only this authority.
func verifyTrust(t *testing.T, cloud *emulator.Cloud, pem []byte) error {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	conn, err := tls.Dial("tcp", cloud.DPSHost(), &tls.Config{RootCAs: pool})
	if err == nil {
		conn.Close()
	}
	return err
}

func TestTheAuthoritySurvivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "authority.pem")
	first, notes := withAuthorityFile(t, file, emulator.Config{})
	pem := first.CAPEM()
	first.Close()
	for path, mode := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): os.ModeDir | 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	second, _ := withAuthorityFile(t, file, emulator.Config{})
	third, _ := withAuthorityFile(t, file, emulator.Config{}) // while the second still runs
	for _, cloud := range []*emulator.Cloud{second, third} {
		if err := verifyTrust(t, cloud, pem); err != nil || string(cloud.CAPEM()) != string(pem) {
			t.Error(err)
		}
	}
	if notes() != "" {
		t.Error(notes())
	}
}

func TestAnUnusableAuthorityIsReplacedWithANote(t *testing.T) {
	for name, damage := range map[string]func(file string) error{
		"damaged": func(file string) error {
			return os.WriteFile(file, []byte("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"), 0o600)
		},
		"empty":       func(file string) error { return os.Truncate(file, 0) },
		"half":        func(file string) error { return os.Truncate(file, 700) },
		"a directory": func(file string) error { return os.Remove(file) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "authority.pem")
			first, _ := withAuthorityFile(t, file, emulator.Config{})
			first.Close()
			if err := damage(file); err != nil {
				t.Fatal(err)
			}
			if name == "a directory" {
				if err := os.Mkdir(file, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			second, notes := withAuthorityFile(t, file, emulator.Config{})
			if err := verifyTrust(t, second, second.CAPEM()); err != nil {
				t.Error(err)
			}
			second.Close()
			if !strings.Contains(notes(), "certificate authority") {
				t.Errorf("the notes are %q", notes())
			}
			if name == "a directory" {
				return // the file cannot be written
			}
			third, notes := withAuthorityFile(t, file, emulator.Config{})
			if string(third.CAPEM()) != string(second.CAPEM()) || notes() != "" {
				t.Errorf("the next start has another authority again: %s", notes())
			}
		})
	}
}

func TestTheAuthorityIsValidOnlyForTheEmulatorsNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "authority.pem")
	plain, _ := withAuthorityFile(t, file, emulator.Config{})
	plain.Close()
	container := emulator.Config{Host: "emulator", ListenHost: "127.0.0.1"}
	named, notes := withAuthorityFile(t, file, container)
	if !strings.Contains(notes(), "has made a new one") {
		t.Errorf("the notes are %q", notes())
	}
	named.Close()
	pem := named.CAPEM()
	for range 2 { // the new authority permits the names of the old one
		plain, notes = withAuthorityFile(t, file, emulator.Config{})
		if err := verifyTrust(t, plain, pem); err != nil || notes() != "" {
			t.Errorf("%v; the notes are %q", err, notes())
		}
		plain.Close()
		named, notes = withAuthorityFile(t, file, container)
		if notes() != "" || named.DPSHost()[:9] != "emulator:" {
			t.Errorf("DPS is %s; the notes are %q", named.DPSHost(), notes())
		}
		named.Close()
	}
	certificate, err := tls.X509KeyPair(readAll(t, file), readAll(t, file))
	if err != nil {
		t.Fatal(err)
	}
	authority, _ := x509.ParseCertificate(certificate.Certificate[0])
	if !authority.PermittedDNSDomainsCritical || !authority.MaxPathLenZero || len(authority.PermittedDNSDomains) == 0 ||
		len(authority.PermittedIPRanges) == 0 {
		t.Errorf("%+v", authority)
	}
	for _, name := range authority.PermittedDNSDomains {
		switch name {
		case "localhost", "wrong.invalid", "emulator", "A", "B":
		default:
			t.Errorf("it may sign for %s", name)
		}
	}
	for _, ip := range authority.PermittedIPRanges {
		if !ip.IP.IsLoopback() {
			t.Errorf("it may sign for %s", ip)
		}
	}
}

func readAll(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// OpenSSL checks the name constraints independently of Go.
func TestOpenSSLTrustsTheAuthority(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("there is no openssl: ", err)
	}
	cloud, _ := withAuthorityFile(t, "", emulator.Config{})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, cloud.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	client := exec.Command("openssl", "s_client", "-connect", cloud.DPSHost(), "-CAfile", file, "-verify_return_error",
		"-verify_ip", "127.0.0.1")
	if out, err := client.CombinedOutput(); err != nil || !strings.Contains(string(out), "Verify return code: 0 (ok)") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The name constraints apply only to hosts. So the usage must forbid certificates for mail and code.
func TestTheAuthorityIsValidOnlyForServers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "authority.pem")
	cloud, _ := withAuthorityFile(t, file, emulator.Config{})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	for usage, good := range map[x509.ExtKeyUsage]bool{
		x509.ExtKeyUsageServerAuth: true, x509.ExtKeyUsageEmailProtection: false, x509.ExtKeyUsageCodeSigning: false,
		x509.ExtKeyUsageClientAuth: false,
	} {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(7), NotAfter: signer.Leaf.NotAfter, EmailAddresses: []string{"boss@bank.example"},
			ExtKeyUsage: []x509.ExtKeyUsage{usage},
		}
		der, err := x509.CreateCertificate(rand.Reader, template, signer.Leaf,
			&signer.PrivateKey.(*ecdsa.PrivateKey).PublicKey, signer.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Verify(x509.VerifyOptions{Roots: cloud.CAPool(), KeyUsages: []x509.ExtKeyUsage{usage}})
		if (err == nil) != good {
			t.Errorf("usage %d: %v", usage, err)
		}
	}
}

// Docker Compose names containers with underscores.
func TestTheCertificateContainsAHostWithAnUnderscore(t *testing.T) {
	cloud, _ := withAuthorityFile(t, "", emulator.Config{Host: "my_emulator", ListenHost: "127.0.0.1"})
	_, port, _ := net.SplitHostPort(cloud.DPSHost())
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: cloud.CAPool(), ServerName: "my_emulator"})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
