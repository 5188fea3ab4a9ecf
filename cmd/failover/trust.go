//go:build !nolab

package main

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/transport"
)

// A trustLine is what makes one kind of client trust the emulator. In the line, PEM and P12 stand for
// the files, quoted for a shell, and "PEM" for the file as a string of a program.
type trustLine struct{ client, line string }

// trustLines lists the clients: first the SDKs and tools, then the stores of systems. Version 1 of
// Azure's SDK for Java has authorities of its own and ignores Java's trust store.
var trustLines = []trustLine{
	{"Node (variable)", `export NODE_EXTRA_CA_CERTS=PEM`},
	{"Python, azure-iot-device (argument of create_from_connection_string and create_from_symmetric_key)",
		`server_verification_cert=open("PEM").read()`},
	{"Python, requests; az (variable)", `export REQUESTS_CA_BUNDLE=PEM`},
	{"Programs on OpenSSL, such as Azure's SDK for C and Python's ssl; .NET and Go on Linux (variable)",
		`export SSL_CERT_FILE=PEM`},
	{"Java, and both clients of Azure's SDK version 2 (options of java)",
		`-Djavax.net.ssl.trustStore=P12 -Djavax.net.ssl.trustStoreType=PKCS12 ` +
			`-Djavax.net.ssl.trustStorePassword=` + emulator.TrustStorePassword},
	{"Java, device client of Azure's SDK version 2 (in the program)",
		`ClientOptions.builder().sslContext(IotHubSSLContext.getSSLContextFromFile("PEM")).build()`},
	{"Java, device client of Azure's SDK version 1 (in the program)",
		`client.setOption("SetCertificatePath", "PEM");`},
	{"Java, provisioning client of Azure's SDK version 1 (in the program, with the options of java above)",
		`new SecurityProviderSymmetricKey(key, id) { @Override public SSLContext getSSLContext() ` +
			`throws SecurityProviderException { try { return SSLContext.getDefault(); } ` +
			`catch (NoSuchAlgorithmException e) { throw new SecurityProviderException(e); } } }`},
	{"curl (option)", `--cacert PEM`},
	{"mosquitto_pub and mosquitto_sub (option)", `--cafile PEM`},
	{"openssl s_client (options)", `-verify_return_error -CAfile PEM`},
	{"Debian and Ubuntu, programs that use the trust store of the system",
		`sudo cp PEM /usr/local/share/ca-certificates/failover-ca.crt && sudo update-ca-certificates`},
	{"Fedora and Red Hat, programs that use the trust store of the system",
		`sudo cp PEM /etc/pki/ca-trust/source/anchors/failover-ca.pem && sudo update-ca-trust`},
	{"macOS, programs of this user that use the key chain",
		`security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db PEM`},
	{"Windows, programs of this user that use the trust store of the system (PowerShell)",
		`certutil -user -addstore Root PEM`},
}

func emulatorTrust() *cobra.Command {
	var caFile string
	c := &cobra.Command{
		Use: "trust", Short: "Print how each SDK and system trusts the emulator", Args: cobra.NoArgs,
		Long: "trust prints a line for each SDK, tool and system that makes it trust the certificates of the\n" +
			"emulator. The emulator need not run, but it must have written its certificate authority, as PEM\n" +
			"and as PKCS#12. The PKCS#12 file has a password because Java asks for one. The password is public,\n" +
			"because the file holds only a certificate.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := readEnvironment()
			if err != nil {
				return err
			}
			file, err := filepath.Abs(cmp.Or(caFile, cfg.find("FAILOVER_CA_FILE"), defaultCAFile))
			if err != nil {
				return fmt.Errorf("--ca-file: %w", err)
			}
			if err := checkAuthority(file); err != nil {
				return err
			}
			return printTrust(c.OutOrStdout(), file)
		},
	}
	c.Flags().StringVar(&caFile, "ca-file", "",
		"the `file` that the emulator has written (default: FAILOVER_CA_FILE, or else "+defaultCAFile+")")
	return c
}

// checkAuthority returns an error if one of the two files of the authority is missing or is no such
// file.
func checkAuthority(file string) error {
	_, err := transport.RootsFromFile(file)
	if err == nil {
		err = emulator.CheckTrustStore(trustStoreFile(file))
	}
	if err != nil {
		return fmt.Errorf("the emulator's certificate authority: %w; start failover emulator, "+
			"which writes it, or give its file with --ca-file", err)
	}
	return nil
}

// printTrust prints the lines for the authority in a file.
func printTrust(out io.Writer, file string) error {
	trustStore := trustStoreFile(file)
	fill := strings.NewReplacer(`"PEM"`, strconv.Quote(file), "PEM", quoted(file), "P12", quoted(trustStore))
	var b strings.Builder
	fmt.Fprintf(&b, "The emulator's certificate authority is %s,\nand as PKCS#12 %s (password %s).\n", escaped(file),
		escaped(trustStore), emulator.TrustStorePassword)
	for _, t := range trustLines {
		fmt.Fprintf(&b, "\n%s:\n  %s\n", t.client, escaped(fill.Replace(t.line)))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
