//go:build unix && !nolab

package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// authorityFiles writes the files of a cloud as failover emulator does, into a directory whose name needs
// quoting, and returns the path of the PEM file.
func authorityFiles(t *testing.T, cloud *emulator.Cloud) (caFile string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "it's a $HOME")
	must(t, os.Mkdir(dir, 0o700))
	caFile = filepath.Join(dir, "failover-ca.pem")
	trustStore, err := cloud.TrustStore()
	must(t, err)
	must(t, os.WriteFile(caFile, cloud.CAPEM(), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "failover-ca.p12"), trustStore, 0o600))
	return caFile
}

// trustLineFor returns the line that the command prints for the first client whose name has this beginning.
func trustLineFor(t *testing.T, printed, client string) string {
	t.Helper()
	_, after, found := strings.Cut(printed, "\n"+client)
	_, after, ok := strings.Cut(after, ":\n  ")
	line, _, ended := strings.Cut(after, "\n")
	if !found || !ok || !ended {
		t.Fatalf("there is no line for %s in\n%s", client, printed)
	}
	return line
}

// Each client connects to the emulator in a shell with the printed line, and does not without it.
func TestEachLineOfTrustMakesItsClientTrustTheEmulator(t *testing.T) {
	slow.Test(t)
	cloud := newCloud(t)
	caFile := authorityFiles(t, cloud)
	code, printed, stderr := run(t, nil, "emulator", "trust", "--ca-file", caFile)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	host, port, err := net.SplitHostPort(cloud.DPSHost())
	must(t, err)
	at := "-connect " + cloud.DPSHost()
	python := `import socket, ssl; ` +
		`ssl.create_default_context().wrap_socket(socket.create_connection(("HOST", PORT)), server_hostname="HOST")`
	argument := `import socket, ssl; c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
def client(server_verification_cert="-"): c.load_verify_locations(cadata=server_verification_cert)
client(LINE)
c.wrap_socket(socket.create_connection(("HOST", PORT)), server_hostname="HOST")`
	node := `require("tls").connect({host: "HOST", port: PORT}, function () { this.end() })` +
		`.on("error", () => process.exit(1))`
	for client, c := range map[string]struct{ tool, script string }{ // LINE is the printed line, or nothing
		"Node":                     {"node", "LINE\nnode -e '" + node + "'"},
		"Python, azure-iot-device": {"python3", "python3 - <<'END'\n" + argument + "\nEND"},
		"Programs on OpenSSL":      {"python3", "LINE\npython3 -c '" + python + "'"},
		"Java, and both clients": {"keytool", "set -- LINE; keytool -list -noprompt -keystore \"${1#*=}\" " +
			"-storepass \"${3#*=}\" | grep -q 'failover-emulator, .*trustedCertEntry'"},
		"openssl s_client": {"openssl", "openssl s_client -verify_return_error " + at + " LINE </dev/null"},
	} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(c.tool); err != nil {
				t.Skip(err)
			}
			script := strings.NewReplacer("HOST", host, "PORT", port).Replace(c.script)
			for with, line := range map[bool]string{true: trustLineFor(t, printed, client), false: ""} {
				shell := exec.CommandContext(t.Context(), "sh", "-euc", strings.Replace(script, "LINE", line, 1))
				shell.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
				if text, err := shell.CombinedOutput(); (err == nil) != with {
					t.Errorf("with the line %t: %v, %s", with, err, text)
				}
			}
		})
	}
}

func TestTrustNamesTheFileOfTheEnvironment(t *testing.T) {
	caFile := authorityFiles(t, newCloud(t))
	code, printed, _ := run(t, []string{"FAILOVER_CA_FILE=" + caFile}, "emulator", "trust")
	quoted := "'" + strings.ReplaceAll(caFile, "'", `'\''`) + "'"
	if line := trustLineFor(t, printed, "curl"); code != 0 || line != "--cacert "+quoted {
		t.Errorf("exit code %d, %s", code, line)
	}
}

func TestTrustNeedsTheFilesThatTheEmulatorWrites(t *testing.T) {
	caFile := authorityFiles(t, newCloud(t))
	trustStore := strings.TrimSuffix(caFile, ".pem") + ".p12"
	must(t, os.Remove(trustStore))
	for args, missing := range map[string]string{"": "failover-ca.pem", caFile: trustStore, trustStore: trustStore} {
		command := []string{"emulator", "trust"}
		if args != "" {
			command = append(command, "--ca-file="+args)
		}
		code, stdout, stderr := run(t, nil, command...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, missing) ||
			!strings.Contains(stderr, "start failover emulator") {
			t.Errorf("%q: exit code %d, %s%s", args, code, stdout, stderr)
		}
	}
}
