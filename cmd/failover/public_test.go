//go:build unix

package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/transport"
)

// The command prints no secret but one, which is public.

func TestHelpAndStatesContainNoSecret(t *testing.T) {
	dir := t.TempDir()
	env := []string{"FAILOVER_GROUP_KEY=" + newCanary([]byte(canaryGroup))["base64"], "FAILOVER_DEVICE_KEY=" +
		newCanary([]byte(canaryDevice))["base64"]}
	places := map[string]string{}
	for _, args := range []string{
		"--help", "run --help", "demo --help", "emulator --help", "emulator messages --help", "states --help",
		"trace --help", "version --help",
		"completion --help",
		"central --help", "central device manual-failover --help", "central device command run --help",
		"lizard list --help", "lizard kill --help",
		"completion bash", "completion zsh", "completion fish", "completion powershell", "states", "version", "man " +
			dir,
	} {
		c := command(t, env, strings.Fields(args)...)
		must(t, os.WriteFile(filepath.Join(c.Dir, ".env"), []byte(strings.Join(env, "\n")), 0o600))
		p := start(t, c)
		p.wantExit(0)
		places[args] = p.stdout.String() + p.stderr.String()
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	must(t, err)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		must(t, err)
		places[page] = string(text)
	}
	if len(pages) < 6 {
		t.Errorf("manual pages: %q", pages)
	}
	for where, text := range places {
		for _, secret := range [][]byte{[]byte(canaryGroup), []byte(canaryDevice), development(t),
			derived(string(development(t)), "dev1")} {
			newCanary(secret).wantNone(t, where, text)
		}
		wantNothingLikeASecret(t, where, text)
	}
}

// development returns the emulator's group key, which is public.
func development(t *testing.T) []byte {
	t.Helper()
	group, err := base64.StdEncoding.DecodeString(emulator.DevelopmentGroupKey)
	must(t, err)
	return group
}

// secretLike matches the signature of a token, or a key of 32 bytes or more.
var secretLike = regexp.MustCompile(`sig=[A-Za-z0-9%]|SharedAccess(Key|Signature)[= ]|` +
	`[A-Za-z0-9+/]{42,}(=|%3[Dd]){1,2}|[0-9A-Fa-f]{64,}`)

func wantNothingLikeASecret(t *testing.T, where, text string) {
	t.Helper()
	for _, word := range secretLike.FindAllString(text, -1) {
		t.Errorf("%s: %q may be a secret", where, word)
	}
}

// The inputs that a fuzzer finds are committed as files.
func TestFuzzSeedsContainNoSecret(t *testing.T) {
	seeds := 0
	must(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "/testdata/fuzz/") &&
			!strings.HasSuffix(path, "fuzz_test.go") {
			return err
		}
		seeds++
		text, err := os.ReadFile(path)
		wantNothingLikeASecret(t, path, string(text))
		return err
	}))
	if seeds == 0 {
		t.Error("there are none")
	}
}

func TestDemoPrintsNoSecret(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	for _, format := range []string{"--json=false", "--json"} {
		p := start(t, command(t, nil, "demo", format))
		p.stdout.await(p, 0, "Connected")
		p.signal(syscall.SIGINT)
		p.wantExit(0)
		said := p.stdout.String() + p.stderr.String()
		wantNothingLikeASecret(t, "the demo", said)
		newCanary(development(t)).wantNone(t, "the demo", said)
		newCanary(derived(string(development(t)), "demo-1")).wantNone(t, "the demo", said)
	}
}

// The emulator prints its group key, which is public, once for the devices. It prints no derived
// key, and nothing that a client sends in the wrong field.
func TestEmulatorPrintsOnlyItsPublicKey(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	begin := time.Now()
	dir := t.TempDir()
	cloud, exports := emulate(t, dir)
	p := start(t, inShell(command(t, nil, "run", "--telemetry-interval=50ms"), exports+`exec "$0" "$@"`))
	cloud.stdout.await(cloud, 0, "telemetry")

	roots, err := transport.RootsFromFile(filepath.Join(dir, "failover-ca.pem"))
	must(t, err)
	group := development(t)
	hub := regexp.MustCompile(`Hub A is (\S+), hub B is (\S+)\.`).FindStringSubmatch(exports)[1:]
	token := transport.SAS(hub[0]+"/devices/dev1", "", key(t, derived(string(group), "dev1")), begin)
	secrets := []string{token, base64.StdEncoding.EncodeToString(derived(string(group), "dev1")),
		emulator.DevelopmentGroupKey}
	for _, secret := range secrets {
		connectAs(t, roots, hub[0], secret, "dev1", "dev1")
		connectAs(t, roots, hub[0], "dev1", hub[0]+"/dev1/?api-version=2021-04-12&x="+secret, secret)
		connectAs(t, roots, hub[0], secret, hub[0]+"/"+secret+"/?api-version=2021-04-12", token)
	}
	p.terminate(0)
	cloud.terminate(0)
	said := cloud.stdout.String() + cloud.stderr.String()
	if n := strings.Count(said, emulator.DevelopmentGroupKey); n != 1 ||
		!strings.Contains(said, "export FAILOVER_GROUP_KEY='"+emulator.DevelopmentGroupKey+"'") {
		t.Errorf("the group key stands %d times in\n%s", n, said)
	}
	if n := strings.Count(said, "violation") + strings.Count(said, "refused  "); n < 3*len(secrets) {
		t.Errorf("%d refusals were logged:\n%s", n, said)
	}
	said = strings.Replace(said, emulator.DevelopmentGroupKey, "", 1)
	shown := append(shownSince(t, begin, string(group), emulator.DevelopmentIDScope, hub...),
		canary{"raw": token, "escaped": url.QueryEscape(token)})
	for _, c := range shown {
		c.wantNone(t, "the emulator", said)
	}
}

// connectAs connects with the given client ID, user name and password, and waits for the end of the
// connection.
func connectAs(t *testing.T, roots *x509.CertPool, hub, clientID, username, password string) {
	t.Helper()
	conn, err := tls.Dial("tcp", hub, &tls.Config{RootCAs: roots})
	must(t, err)
	defer conn.Close()
	c := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	c.ProtocolName, c.ProtocolVersion, c.ClientIdentifier = "MQTT", 4, clientID
	c.UsernameFlag, c.Username, c.PasswordFlag, c.Password = true, username, true, []byte(password)
	must(t, c.Write(conn))
	_, _ = io.Copy(io.Discard, conn)
}
