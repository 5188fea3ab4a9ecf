//go:build unix

package main_test

import (
	"os"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// The certificate authority changes, as when the emulator restarts or a company replaces its own.
func TestReplacedCertificateAuthorityIsUsedAtTheNextDial(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	first, second := newCloud(t), newCloud(t)
	env := deviceEnv(t, first)
	file := file(t, "ca.pem", string(first.CAPEM()))
	p := start(t, command(t, append(env, "FAILOVER_CA_FILE="+file), "run"))
	p.await("Connecting -> Connected")
	// The device's file now names the authority of another cloud, so the next connection fails, and
	// then the right one again.
	must(t, os.WriteFile(file, second.CAPEM(), 0o600), first.KillHub("A", emulator.FIN))
	p.await("tls")
	must(t, first.ReviveHub("A"), os.WriteFile(file, first.CAPEM(), 0o600))
	p.awaitAfter(len(p.stderr.String()), "Connecting -> Connected")
	p.terminate(0)
}

func TestDamagedCAFileWhileTheDeviceRunsIsAWarning(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	for name, damage := range map[string]func(file string) error{
		"damaged": func(file string) error {
			return os.WriteFile(file, []byte("-----BEGIN CERTIFICATE-----\nx"),
				0o600)
		},
		"missing": os.Remove,
		"empty":   func(file string) error { return os.Truncate(file, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := newCloud(t)
			file := file(t, "ca.pem", string(cloud.CAPEM()))
			p := start(t, command(t, append(deviceEnv(t, cloud), "FAILOVER_CA_FILE="+file), "run"))
			p.await("Connecting -> Connected")
			must(t, damage(file), cloud.MoveDevices("A", "B"))
			p.await("the certificates that were read before stay in use")
			p.await("failed over from")
			p.terminate(0)
		})
	}
}
