//go:build unix

package main_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/transport"
)

// These tests search everything that the command prints and writes for secrets in all their forms.
// machine/canary_test.go searches what a program gets that embeds the device.

const (
	canaryGroup  = "Canary4711OfTheEnrollmentGroup+64BytesLong/AsThoseOfAzureAre+abc"
	canaryDevice = "Canary1OfTheDevice/32BytesLong+7"
)

// A canary is a secret in all the forms in which it may be printed.
type canary map[string]string // how it is written -> the text

func newCanary(secret []byte) canary {
	text := base64.StdEncoding.EncodeToString(secret)
	return canary{
		"raw": string(secret), "base64": text, "base64 for URLs": base64.URLEncoding.EncodeToString(secret),
		"URL-encoded": url.QueryEscape(text), "hex": hex.EncodeToString(secret),
		"HEX": strings.ToUpper(hex.EncodeToString(secret)),
	}
}

// tokenCanaries returns the canaries of a SAS token: the whole token, which is text, and its
// signature.
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

// wantNone searches for the canary as it is, as Go quotes it and as JSON writes it.
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

// derived returns the key that Azure's documents derive for a device from the group's key.
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

// shownSince returns dev1's keys and the tokens that it may have used since a time.
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

// records has the events of a cloud.
type records struct{ output }

func (r *records) add(e emulator.Event) {
	fmt.Fprintf(r, "%s %s %s %s\n", e.Kind, e.Hub, e.Device, e.Text)
}

func TestNoSecretIsPrintedWhateverHappensToTheDevice(t *testing.T) {
	slow.Test(t)
	for _, format := range []string{"console", "json"} {
		for _, level := range []string{"debug", "info", "warn"} {
			t.Run(format+" "+level, func(t *testing.T) {
				t.Parallel()
				runThroughFaults(t, "--log-format="+format, "--log-level="+level)
			})
		}
	}
}

// runThroughFaults runs a device while hubs and DPS refuse it in many ways, and then searches
// everything it printed and wrote.
func runThroughFaults(t *testing.T, args ...string) {
	begin := time.Now()
	var told records
	cloud := emulator.ForTest(t, emulator.Config{
		RetryAfter: time.Second, Observe: told.add, GroupKey: base64.StdEncoding.EncodeToString([]byte(canaryGroup)),
	})
	state := filepath.Join(t.TempDir(), "state")
	args = append([]string{"run", "--state-dir", state, "--hub-wait=100ms", "--dps-wait=100ms", "--last-wait=100ms",
		"--first-rest=100ms", "--last-rest=100ms"}, args...)

	stranger := start(t, command(t, append(deviceEnv(t, cloud), "FAILOVER_ID_SCOPE=0ne0000WR0NG",
		"FAILOVER_NO_TELEMETRY=true"), args...))
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
	must(t, cloud.SendCommand("dev1", "nothing", nil),
		cloud.SetDesired("dev1", map[string]any{"fanSpeed": "x", "nothing": 1}))
	at := told.await(p, 0, "completed")
	must(t, cloud.BreakDPS(emulator.DPSRefuses), cloud.MoveDevice("dev1", "B"))
	at = told.await(p, at, "refused A dev1 CONNACK 5")
	at = told.await(p, at, "refused DPS dev1 CONNACK 5")
	must(t, cloud.BreakDPS(emulator.DPSUnauthorized))
	at = told.await(p, at, "register DPS dev1 answered 401")
	once := emulator.Params{Count: 1}
	must(t, cloud.Inject(emulator.TargetDPS, emulator.CertificateForeign, once), cloud.BreakDPS(emulator.DPSHealthy))
	for _, fault := range []emulator.Fault{emulator.CertificateExpired, emulator.GarbageCONNACK,
		emulator.SUBACKRefused, emulator.TwinError} {
		at = told.await(p, at, "twin B dev1 read") // it has all that it asks for, so the fault meets the next session
		must(t, cloud.Inject("B", fault, once), cloud.Inject("B", emulator.Garbage, once))
		at = told.await(p, at, string(fault)+" cleared, because its count is used up")
	}
	told.await(p, at, "twin B dev1 read")
	waitReadings(t, cloud, "B", 1)
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

// addFiles adds the files of a directory, which other users must not be able to read.
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
