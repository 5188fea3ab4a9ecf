//go:build unix

package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/slow"
)

// An operator is a client of the control API that has read the control file.
type operator struct {
	t              *testing.T
	URL, Token, CA string
}

func newOperator(t *testing.T, file string) operator {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	o := operator{t: t}
	must(t, json.Unmarshal(text, &o))
	return o
}

// do sends a request and wants a 2xx. It returns the answer.
func (o operator) do(method, path, body string) string {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, o.URL+path, strings.NewReader(body))
	must(o.t, err)
	r.Header.Set("Authorization", "Bearer "+o.Token)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(o.CA))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots},
		DisableKeepAlives: true}}
	answer, err := client.Do(r)
	must(o.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(o.t, err)
	if answer.StatusCode/100 != 2 {
		o.t.Fatalf("%s %s: %d %s", method, path, answer.StatusCode, text)
	}
	return string(text)
}

func TestControlAPIMovesADeviceAndInjectsFaults(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "sub", "control.json")
	cloud, exports := emulate(t, dir, "--control-file="+file)
	o := newOperator(t, file)
	p := start(t, inShell(command(t, nil, "run", "--telemetry-interval=50ms", "--property-interval=50ms",
		"--hold=1ms"), exports+`exec "$0" "$@"`))
	p.await("Connecting -> Connected")
	cloud.stdout.await(cloud, 0, "reported properties have version 2")

	at := p.awaitAfter(0, "Connecting -> Connected")
	o.do("POST", "/system/iothub/devices/dev1/manual-failover", `{"ttl":1}`)
	at = p.awaitAfter(at, "failed over")
	o.do("POST", "/system/iothub/devices/dev1/manual-failback", "")
	at = p.awaitAfter(at, "failed back")

	const v, device = "?api-version=2022-07-31", "/api/devices/dev1"
	const call = `{"request":"hi","connectionTimeout":10}` // the device subscribes after it is Connected
	if got := o.do("POST", device+"/commands/echo"+v, call); !strings.Contains(got, `"response":"hi"`) {
		t.Errorf("the command is answered with %s", got)
	}
	o.do("POST", device+"/commands/setAlarm"+v, `{"request":"08:30:00Z"}`)
	p.awaitAfter(at, "setAlarm")
	changed := len(cloud.stdout.String())
	o.do("PATCH", device+"/properties"+v, `{"fanSpeed":3}`)
	cloud.stdout.await(cloud, cloud.stdout.await(cloud, changed, "desired properties have version 2"),
		"reported properties have version")
	for path, part := range map[string]string{
		device + v: `"template":"dtmi:Sample:Failover;1"`, device + "/telemetry/temp" + v: `"value":`,
		device + "/properties" + v: `"battery":`,
	} {
		if got := o.do("GET", path, ""); !strings.Contains(got, part) {
			t.Errorf("%s: no %s in %s", path, part, got)
		}
	}

	at = len(p.stderr.String())
	o.do("POST", "/lizard/v1/strikes", `{"target":"A","fault":"fin"}`)
	p.awaitAfter(at, "connect-failed")
	o.do("DELETE", "/lizard/v1/strikes", "")
	p.awaitAfter(at, "Connecting -> Connected")
	p.terminate(0)
	cloud.terminate(0)
	if text := cloud.stdout.String() + cloud.stderr.String(); strings.Contains(text, o.Token) {
		t.Error("the token was printed")
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the control file is still there: %v", err)
	}
}

func TestControlFileIsInTheCacheDirectoryForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	c := command(t, nil, "emulator", "--port=0", "--control-port=0")
	c.Env = []string{"HOME=" + home}
	cloud := start(t, c)
	cloud.stdout.await(cloud, 0, "export FAILOVER_CA_FILE=")
	var found string
	must(t, filepath.WalkDir(home, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Base(path) != "authority.pem" {
			found = path
		}
		return err
	}))
	if !strings.HasSuffix(found, filepath.Join("failover", "emulator.json")) {
		t.Fatalf("in the home directory there is %q", found)
	}
	info, err := os.Stat(found)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
	line, _, _ := strings.Cut(cloud.stdout.String(), "\n")
	o := newOperator(t, found)
	if !strings.HasPrefix(line, "# ") || !strings.Contains(line, o.URL) ||
		!strings.HasSuffix(line, "(token in "+found+")") {
		t.Errorf("it says %q", line)
	}
	if host, _, err := net.SplitHostPort(strings.TrimPrefix(o.URL, "https://")); host != "127.0.0.1" || err != nil {
		t.Errorf("the control API is at %s", o.URL)
	}
	// An emulator that is killed leaves the file, and the next one replaces it.
	must(t, cloud.cmd.Process.Kill())
	cloud.exit()
	c = command(t, nil, "emulator", "--port=0", "--control-port=0")
	c.Env = []string{"HOME=" + home}
	next := start(t, c)
	next.stdout.await(next, 0, "export FAILOVER_CA_FILE=")
	if again := newOperator(t, found); again.Token == o.Token {
		t.Error("the token is the old one")
	}
	next.terminate(0)
}

func TestControlAPIThatCannotStartIsReportedWithTheNextStep(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for args, want := range map[string]string{
		"--control-port=" + port:                                  "another --control-port",
		"--control-port=0 --control-file=/dev/null/emulator.json": "--control-file: ",
	} {
		code, stdout, stderr := run(t, nil, append([]string{"emulator", "--port=0"}, strings.Fields(args)...)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("emulator %s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
	c := command(t, nil, "emulator", "--port=0", "--control-port=0")
	c.Env = []string{"PATH=" + os.Getenv("PATH")} // no home, and so no cache
	p := start(t, c)
	p.wantExit(1)
	if !strings.Contains(p.stderr.String(), "--control-file") {
		t.Errorf("without a home it says %s", &p.stderr)
	}
}

// The scripts of the document run unchanged, if there is curl.
func TestExamplesOfTheControlAPIInTheDocumentsWork(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil || runtime.GOOS != "linux" {
		t.Skip("there is no curl, or the cache is elsewhere")
	}
	document, err := os.ReadFile("../../docs/emulator.md")
	must(t, err)
	_, section, _ := strings.Cut(string(document), "## The control API\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var script strings.Builder
	for block := range strings.SplitSeq(section, "```sh\n") {
		if block, _, is := strings.Cut(block, "```"); is {
			script.WriteString(block)
		}
	}
	dir := t.TempDir()
	c := command(t, nil, "emulator", "--port=0", "--control-port=0", "--retry-after=1s")
	c.Dir = dir
	cloud := start(t, c)
	said := cloud.stdout.await(cloud, 0, "export FAILOVER_CA_FILE=")
	exports := cloud.stdout.String()[:cloud.stdout.await(cloud, said, "\n")]
	device := start(t, inShell(command(t, nil, "run", "--telemetry-interval=50ms", "--hold=1ms"),
		exports+`exec "$0" "$@"`))
	device.await("Connecting -> Connected")
	cloud.stdout.await(cloud, 0, "telemetry")

	if strings.Count(script.String(), "\napi ") < 12 {
		t.Fatalf("these are not the examples:\n%s", &script)
	}
	shell := exec.Command("sh", "-eu")
	shell.Stdin, shell.Dir, shell.Env = strings.NewReader(script.String()), dir, c.Env
	out, err := shell.CombinedOutput()
	if err != nil || strings.Contains(string(out), `"error"`) || !strings.Contains(string(out), `"response":"hello"`) {
		t.Errorf("%v\n%s", err, out)
	}
}
