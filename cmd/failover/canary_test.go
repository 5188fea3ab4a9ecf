//go:build unix

package main_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/transport"
)

// Secrets are looked for, in all their forms, in whatever the command prints and writes. What a program gets that embeds the
// device is looked at in machine/canary_test.go.

const (
	canaryGroup  = "Canary4711OfTheEnrollmentGroup+64BytesLong/AsThoseOfAzureAre+abc"
	canaryDevice = "Canary1OfTheDevice/32BytesLong+7"
)

// A canary is a secret in its forms.
type canary map[string]string // how it is written -> the text

func newCanary(secret []byte) canary {
	text := base64.StdEncoding.EncodeToString(secret)
	return canary{
		"raw": string(secret), "base64": text, "base64 for URLs": base64.URLEncoding.EncodeToString(secret),
		"URL-encoded": url.QueryEscape(text), "hex": hex.EncodeToString(secret), "HEX": strings.ToUpper(hex.EncodeToString(secret)),
	}
}

// tokenCanaries are those of a SAS token: the whole of it, which is text, and its signature.
func tokenCanaries(resource, policy string, key transport.Key, expires time.Time) []canary {
	token := transport.SAS(resource, policy, key, expires)
	whole := newCanary([]byte(token))
	whole["URL-encoded"] = url.QueryEscape(token)
	_, rest, _ := strings.Cut(token, "&sig=")
	escaped, _, _ := strings.Cut(rest, "&")
	text, _ := url.QueryUnescape(escaped)
	signature, _ := base64.StdEncoding.DecodeString(text)
	return []canary{whole, newCanary(signature)}
}

// wantNone looks for the canary as it is, as Go quotes it and as JSON writes it.
func (c canary) wantNone(t *testing.T, where, text string) {
	t.Helper()
	for how, form := range c {
		quoted := strconv.Quote(form)
		inJSON, _ := json.Marshal(form)
		for _, form := range []string{form, quoted[1 : len(quoted)-1], strings.Trim(string(inJSON), `"`)} {
			if strings.Contains(text, form) {
				t.Errorf("%s: a secret (%s) is in\n%s", where, how, text)
				break
			}
		}
	}
}

// derived is the device's key as the documents derive it from the group's.
func derived(group, device string) []byte {
	mac := hmac.New(sha256.New, []byte(group))
	mac.Write([]byte(device))
	return mac.Sum(nil)
}

func key(t *testing.T, secret []byte) transport.Key {
	t.Helper()
	k, err := transport.ParseKey(base64.StdEncoding.EncodeToString(secret))
	must(t, err)
	return k
}

// shownSince are dev1's keys and the tokens that it may have shown since a moment.
func shownSince(t *testing.T, begin time.Time, group, idScope string, hubs ...string) []canary {
	t.Helper()
	all := []canary{newCanary([]byte(group)), newCanary(derived(group, "dev1"))}
	k := key(t, derived(group, "dev1"))
	for at := begin.Truncate(time.Second); !at.After(time.Now()); at = at.Add(time.Second) {
		expires := at.Add(time.Hour) // at DPS and, by default, at a hub
		all = append(all, tokenCanaries(idScope+"/registrations/dev1", "registration", k, expires)...)
		for _, hub := range hubs {
			all = append(all, tokenCanaries(hub+"/devices/dev1", "", k, expires)...)
		}
	}
	return all
}

// The records are what a cloud has told of itself.
type records struct{ output }

func (r *records) add(e emulator.Event) {
	fmt.Fprintf(r, "%s %s %s %s\n", e.Kind, e.Hub, e.Device, e.Text)
}

func TestNoSecretComesOutWhateverBefallsTheDevice(t *testing.T) {
	for _, format := range []string{"console", "json"} {
		for _, level := range []string{"debug", "info", "warn"} {
			t.Run(format+" "+level, func(t *testing.T) {
				t.Parallel()
				befall(t, "--log-format="+format, "--log-level="+level)
			})
		}
	}
}

// befall has a device go through what can refuse it, and looks at all that is left of its life.
func befall(t *testing.T, args ...string) {
	begin := time.Now()
	var told records
	cloud := emulator.ForTest(t, emulator.Config{
		RetryAfter: time.Second, Observe: told.add, GroupKey: base64.StdEncoding.EncodeToString([]byte(canaryGroup)),
	})
	state := filepath.Join(t.TempDir(), "state")
	args = append([]string{"run", "--state-dir", state, "--first-wait=100ms", "--last-wait=100ms", "--first-rest=100ms", "--last-rest=100ms"}, args...)

	stranger := start(t, command(t, append(deviceEnv(t, cloud), "FAILOVER_ID_SCOPE=0ne0000WR0NG", "FAILOVER_NO_TELEMETRY=true"), args...))
	stranger.await("check the ID scope")
	stranger.terminate(0)

	p := start(t, inShell(command(t, deviceEnv(t, cloud), args...), `umask 0; exec "$0" "$@"`))
	waitReadings(t, cloud, "A", 1)
	commandLine, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/cmdline")
	if err != nil {
		t.Logf("the command line is not looked at: %v", err)
	}
	for _, call := range []string{"echo", "nothing"} {
		_, _, err := cloud.InvokeMethod(t.Context(), "dev1", call, []byte(`"x"`))
		must(t, err)
	}
	must(t, cloud.SendCommand("dev1", "nothing", nil), cloud.SetDesired("dev1", map[string]any{"fanSpeed": "x", "nothing": 1}))
	at := told.await(p, 0, "completed")
	must(t, cloud.BreakDPS(emulator.DPSRefuses), cloud.KillHub("A", emulator.Refuse, emulator.WithMove))
	at = told.await(p, at, "refused DPS dev1 CONNACK 5")
	must(t, cloud.BreakDPS(emulator.DPSUnauthorized))
	at = told.await(p, at, "register DPS dev1 answered 401")
	once := emulator.Params{Count: 1}
	must(t, cloud.BreakDPS(emulator.DPSHealthy), cloud.Strike(emulator.OnDPS, emulator.CertificateForeign, once), cloud.Strike("B", emulator.CertificateExpired, once))
	for _, fault := range []emulator.Fault{emulator.GarbageCONNACK, emulator.Reject, emulator.Garbage, emulator.Oversize, emulator.SUBACKRefused, emulator.TwinError} {
		must(t, cloud.Strike("B", fault, once))
	}
	waitReadings(t, cloud, "B", 1)
	told.await(p, at, "answered 500") // the twin's, which is the last of the faults
	p.terminate(0)

	log := p.stderr.String()
	for _, cause := range []string{"dps-refused", "dps-unavailable", "connack-5", "tls", "protocol", "subscription"} {
		if !strings.Contains(log, "("+cause+")") {
			t.Errorf("nothing has failed by %s:\n%s", cause, log)
		}
	}
	path := start(t, command(t, nil, "trace", file(t, "log", log)))
	path.wantExit(0)
	places := map[string]string{
		"the stranger": stranger.stdout.String() + stranger.stderr.String(), "stdout": p.stdout.String(), "stderr": log,
		"trace": path.stdout.String() + path.stderr.String(), "the command line": string(commandLine),
		"the cloud's records": told.String(), "the cloud's complaints": strings.Join(cloud.Violations(), "\n"),
	}
	addFiles(t, places, state)
	if len(places) < 8 {
		t.Error("there is no file in the state directory")
	}
	for _, c := range shownSince(t, begin, canaryGroup, cloud.IDScope(), cloud.Hub("A"), cloud.Hub("B")) {
		for where, text := range places {
			c.wantNone(t, where, text)
		}
	}
}

// addFiles adds the files of a directory that is nobody else's to read.
func addFiles(t *testing.T, places map[string]string, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		must(t, err)
		if d.IsDir() {
			if info.Mode().Perm() != 0o700 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return nil
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		text, err := os.ReadFile(path)
		places[path] = string(text)
		return err
	}))
}

// mistaken are secrets that a person may put into the wrong place.
func mistaken(t *testing.T) map[string]canary {
	t.Helper()
	token := tokenCanaries("hub.azure-devices.net/devices/dev1", "", key(t, []byte(canaryDevice)), time.Unix(1893456000, 0))
	return map[string]canary{
		"the group key": newCanary([]byte(canaryGroup)), "the device key": newCanary([]byte(canaryDevice)),
		"the derived key": newCanary(derived(canaryGroup, "dev1")), "a token": token[0], "a signature": token[1],
		"a connection string": {"raw": "HostName=hub.azure-devices.net;DeviceId=dev1;SharedAccessKey=" + base64.StdEncoding.EncodeToString([]byte(canaryDevice))},
	}
}

func TestASecretInTheWrongPlaceIsNotQuoted(t *testing.T) {
	for what, c := range mistaken(t) {
		for how, form := range c {
			t.Run(what+" "+how, func(t *testing.T) {
				t.Parallel()
				wantUnquoted(t, c, file(t, "a.key", form), form)
			})
		}
	}
}

// wantUnquoted puts a secret, of which a file holds form, into the wrong places.
func wantUnquoted(t *testing.T, c canary, keyFile, form string) {
	refused := func(env []string, args ...string) {
		t.Helper()
		code, stdout, stderr := run(t, env, append([]string{"run"}, args...)...)
		if code != 2 {
			t.Errorf("%q: exit code %d", args, code)
		}
		c.wantNone(t, strings.Join(args, " "), stdout+stderr)
	}
	who := complete[:2:2]
	// A file that is not what it should be. A key in base64 is one, where it is taken for one.
	refused(who, "--group-key-file", file(t, "bad.key", "!"+form))
	refused(append(complete[:3:3], "FAILOVER_CA_FILE="+keyFile))
	refused(append(complete[:3:3], "FAILOVER_DEVICE_KEY_FILE="+keyFile))
	for _, line := range []string{form, "FAILOVER_WINDOW=" + form, "FAILOVER_WINDOW='" + form, form + "=1\n=2", "FAILOVER_GROUP_KEY=!" + form} {
		refused(nil, "--env-file", file(t, "my.env", line))
	}
	if strings.ContainsFunc(form, func(r rune) bool { return r < ' ' || r > '~' }) { // bytes that nobody can type or copy
		return
	}
	refused(nil, "--env-file", file(t, "my.env", "FAILOVER_ID_SCOPE=\"/"+form+"\""))
	refused(append(who, "FAILOVER_GROUP_KEY_FILE="+form, "FAILOVER_CA_FILE="+form))
	refused(append(who, "FAILOVER_ENV_FILE="+form))
	refused(append(who, "FAILOVER_WINDOW="+form, "FAILOVER_NO_TELEMETRY="+form, "FAILOVER_HOLD="+form, "FAILOVER_DRAIN_RATE="+form))
	var everywhere []string
	for _, name := range []string{"PROVISIONING_HOST", "ID_SCOPE", "DEVICE_ID", "LOG_FORMAT", "LOG_LEVEL", "MODEL_KEY"} {
		everywhere = append(everywhere, "FAILOVER_"+name+"=/"+form)
	}
	refused(append(everywhere, "FAILOVER_GROUP_KEY=!"+form, "FAILOVER_DEVICE_KEY="+form))
	refused(append(everywhere, "IOTHUB_DEVICE_DPS_DEVICE_KEY=!"+form))
	// The command line is everybody's to read; what is printed is not to keep it.
	for _, args := range [][]string{{form}, {"--window", form}, {"--group-key=" + form}, {"-k" + form}} {
		refused(complete[:3:3], args...)
	}
	for _, args := range [][]string{{form}, {"help", form}} {
		code, stdout, stderr := run(t, nil, args...)
		if code != 2 {
			t.Errorf("%q: exit code %d", args, code)
		}
		c.wantNone(t, strings.Join(args, " "), stdout+stderr)
	}
}

func TestWhatTheCommandPrintsAboutItselfHoldsNoSecret(t *testing.T) {
	dir := t.TempDir()
	env := []string{"FAILOVER_GROUP_KEY=" + newCanary([]byte(canaryGroup))["base64"], "FAILOVER_DEVICE_KEY=" + newCanary([]byte(canaryDevice))["base64"]}
	places := map[string]string{}
	for _, args := range []string{
		"--help", "run --help", "demo --help", "emulator --help", "states --help", "trace --help", "version --help", "completion --help",
		"completion bash", "completion zsh", "completion fish", "completion powershell", "states", "version", "man " + dir,
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
		for _, secret := range [][]byte{[]byte(canaryGroup), []byte(canaryDevice), development(t), derived(string(development(t)), "dev1")} {
			newCanary(secret).wantNone(t, where, text)
		}
		wantNothingLikeASecret(t, where, text)
	}
}

// development is the emulator's group key, which is public.
func development(t *testing.T) []byte {
	t.Helper()
	group, err := base64.StdEncoding.DecodeString(emulator.DevelopmentGroupKey)
	must(t, err)
	return group
}

// secretLike is a token's signature, or a key of 32 bytes or more.
var secretLike = regexp.MustCompile(`sig=[A-Za-z0-9%]|SharedAccess(Key|Signature)[= ]|[A-Za-z0-9+/]{42,}(=|%3[Dd]){1,2}|[0-9A-Fa-f]{64,}`)

func wantNothingLikeASecret(t *testing.T, where, text string) {
	t.Helper()
	for _, word := range secretLike.FindAllString(text, -1) {
		t.Errorf("%s: %q may be a secret", where, word)
	}
}

// What a fuzzer finds is kept in files that go into the repository.
func TestTheSeedsOfTheFuzzTestsHoldNoSecret(t *testing.T) {
	seeds := 0
	must(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "/testdata/fuzz/") && !strings.HasSuffix(path, "fuzz_test.go") {
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

func TestTheDemoShowsNoSecret(t *testing.T) {
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

// Its group key is public, and is printed once, for the devices that need it. What is derived from it is not printed, nor what a
// client says in the wrong place.
func TestTheEmulatorPrintsItsPublicKeyOnceAndNothingElse(t *testing.T) {
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
	secrets := []string{token, base64.StdEncoding.EncodeToString(derived(string(group), "dev1")), emulator.DevelopmentGroupKey}
	for _, secret := range secrets {
		rudely(t, roots, hub[0], secret, "dev1", "dev1")
		rudely(t, roots, hub[0], "dev1", hub[0]+"/dev1/?api-version=2021-04-12&x="+secret, secret)
		rudely(t, roots, hub[0], secret, hub[0]+"/"+secret+"/?api-version=2021-04-12", token)
	}
	p.terminate(0)
	cloud.terminate(0)
	said := cloud.stdout.String() + cloud.stderr.String()
	if n := strings.Count(said, emulator.DevelopmentGroupKey); n != 1 || !strings.Contains(said, "export FAILOVER_GROUP_KEY='"+emulator.DevelopmentGroupKey+"'") {
		t.Errorf("the group key stands %d times in\n%s", n, said)
	}
	if n := strings.Count(said, "violation"); n < 2*len(secrets) {
		t.Errorf("%d violations were told:\n%s", n, said)
	}
	said = strings.Replace(said, emulator.DevelopmentGroupKey, "", 1)
	shown := append(shownSince(t, begin, string(group), emulator.DevelopmentIDScope, hub...), canary{"raw": token, "escaped": url.QueryEscape(token)})
	for _, c := range shown {
		c.wantNone(t, "the emulator", said)
	}
}

// rudely connects with whatever it is told, and waits for the end.
func rudely(t *testing.T, roots *x509.CertPool, hub, clientID, username, password string) {
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
