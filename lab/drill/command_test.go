//go:build unix

package drill_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/drill"
)

func place() drill.Place {
	return drill.Place{
		ProvisioningHost: "127.0.0.1:1", IDScope: "0ne1", DeviceID: "dev1", DeviceKey: "a2V5", CAFile: "/ca.pem",
		RootCAs:  x509.NewCertPool(),
		StateDir: "/state", Interval: 200 * time.Millisecond,
	}
}

func TestCommandFindsOnlyItsOwnPlaceInItsEnvironment(t *testing.T) {
	t.Setenv("FAILOVER_GROUP_KEY", "of another cloud")
	var out bytes.Buffer
	r, err := drill.Command{Line: "env", Output: &out}.Start(place())
	if err != nil {
		t.Fatal(err)
	}
	<-r.Ended()
	if u := r.Stop(t.Context()); !strings.Contains(u.Died, "ended by itself") {
		t.Errorf("it says %+v of a client that has ended", u)
	}
	for _, want := range []string{
		"FAILOVER_PROVISIONING_HOST=127.0.0.1:1\n", "FAILOVER_DEVICE_KEY=a2V5\n", "IOTHUB_DEVICE_DPS_ID_SCOPE=0ne1\n",
		"NODE_EXTRA_CA_CERTS=/ca.pem\n",
		"FAILOVER_STATE_DIR=/state\n", "FAILOVER_TELEMETRY_INTERVAL=200ms\n", "PATH=",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "FAILOVER_GROUP_KEY") {
		t.Error("it connected to another cloud")
	}
}

func TestCommandThatEndsAfterSIGTERMHasNotDied(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	r, err := drill.Command{Line: "trap 'echo bye >" + said + "; exit 3' TERM; echo >" + said +
		".up; while :; do sleep 0.05; done"}.Start(place())
	if err != nil {
		t.Fatal(err)
	}
	awaitFile(t, said+".up")
	u := r.Stop(t.Context())
	if text, err := os.ReadFile(said); u.Died != "" || err != nil || string(text) != "bye\n" {
		t.Errorf("%+v, %q, %v", u, text, err)
	}
	if u.Elapsed <= 0 || u.Memory <= 0 || u.CPU <= 0 || u.CPU > u.Elapsed*time.Duration(runtime.NumCPU()) {
		t.Errorf("it used %+v", u)
	}
}

// Only the client, not the shell that runs it, may end slowly.
func TestCommandMayEndSlowly(t *testing.T) {
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	script := filepath.Join(dir, "client.sh")
	text := "trap 'sleep 0.3; echo bye >" + said + "; exit 0' TERM; echo >" + said + ".up; while :; do sleep 0.05; done"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := drill.Command{Line: "sh " + script + "; true"}.Start(place())
	if err != nil {
		t.Fatal(err)
	}
	awaitFile(t, said+".up")
	u := r.Stop(t.Context())
	if text, err := os.ReadFile(said); u.Died != "" || err != nil || string(text) != "bye\n" {
		t.Errorf("%+v, %q, %v", u, text, err)
	}
}

// The processes that it started end too, although all of them ignore SIGTERM.
func TestCommandThatDoesNotEndIsKilledWithItsProcesses(t *testing.T) {
	up := filepath.Join(t.TempDir(), "up")
	line := "trap '' TERM; (trap '' TERM; echo >" + up +
		"; while :; do sleep 0.05; done) & while :; do sleep 0.05; done"
	var out bytes.Buffer
	r, err := drill.Command{Line: line, Output: &out}.Start(place()) // whose pipe the child keeps open
	if err != nil {
		t.Fatal(err)
	}
	awaitFile(t, up)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if u := r.Stop(ctx); u.Died != "did not end when it was told to" {
		t.Errorf("%+v", u)
	}
}

func awaitFile(t *testing.T, name string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(name); err == nil {
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("there is no %s", name)
		}
	}
}
