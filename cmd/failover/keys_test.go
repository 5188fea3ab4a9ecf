//go:build unix

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

const (
	oldKey = "dGhlIGtleSBhdCB0aGUgYmVnaW5uaW5n"
	newKey = "dGhlIGtleSBhZnRlciBhIHJvdGF0aW9u"
)

func TestUnreadableKeyFileIsReportedAtTheStart(t *testing.T) {
	who := complete[:2:2]
	wantRefused(t, append(who, "FAILOVER_GROUP_KEY_FILE=/nowhere/group.key"), nil,
		"FAILOVER_GROUP_KEY_FILE (--group-key-file)", "/nowhere/group.key", "Manage enrollments")
	wantRefused(t, who, []string{"--device-key-file", "/nowhere/device.key"},
		"FAILOVER_DEVICE_KEY_FILE (--device-key-file)", "/nowhere/device.key")
	wantRefused(t, who, []string{"--device-key-file", t.TempDir()}, "FAILOVER_DEVICE_KEY_FILE", "no regular file")
	wantRefused(t, who, []string{"--device-key-file", file(t, "device.key", "")}, "FAILOVER_DEVICE_KEY_FILE",
		"device.key", "the key has 0 bytes")
	large := file(t, "device.key", oldKey+strings.Repeat("\n", 4096))
	wantRefused(t, who, []string{"--device-key-file", large}, "FAILOVER_DEVICE_KEY_FILE", large,
		"larger than 4096 bytes")
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	wantRefused(t, who, []string{"--device-key-file", pipe}, "FAILOVER_DEVICE_KEY_FILE", pipe,
		"no regular file: it is a named pipe")
}

func TestInvalidKeyIsNotQuoted(t *testing.T) {
	const secret = "c2VjcmV0c2VjcmV0c2VjcmV0"
	for name, env := range map[string][]string{
		"FAILOVER_GROUP_KEY":           {"FAILOVER_GROUP_KEY=!" + secret},
		"FAILOVER_DEVICE_KEY":          {"FAILOVER_DEVICE_KEY=" + secret + "!"},
		"IOTHUB_DEVICE_DPS_DEVICE_KEY": {"IOTHUB_DEVICE_DPS_DEVICE_KEY=!" + secret},
		"FAILOVER_GROUP_KEY_FILE":      {"FAILOVER_GROUP_KEY_FILE=" + file(t, "group.key", "!"+secret)},
		// The key itself where the name of its file belongs.
		"FAILOVER_DEVICE_KEY_FILE (--device-key-file) seems to be a key": {"FAILOVER_DEVICE_KEY_FILE=" + secret},
	} {
		code, stdout, stderr := run(t, append(env, complete[:2]...), "run")
		if code != 2 || !strings.Contains(stderr, name) || strings.Contains(stdout+stderr, secret) {
			t.Errorf("%s: exit code %d, %s", name, code, stderr)
		}
	}
}

func TestKeyInPlaceOfTheProvisioningHostIsNotShown(t *testing.T) {
	secret := newCanary([]byte(canaryDevice))
	for _, how := range []string{"base64", "hex", "HEX"} {
		env := append(complete[:3:3], "FAILOVER_PROVISIONING_HOST="+secret[how])
		wantRefused(t, env, nil, "FAILOVER_PROVISIONING_HOST (--provisioning-host) is wrong")
		_, stdout, stderr := run(t, env, "run")
		secret.wantNone(t, how, stdout+stderr)
	}
}

// The error about an invalid key names the setting that is used.
func TestKeyFromAFlagPrecedesTheEnvironmentAndTheEnvFile(t *testing.T) {
	fromFile := file(t, "env", "FAILOVER_DEVICE_KEY=!\n")
	env := append(complete[:2:2], "FAILOVER_ENV_FILE="+fromFile)
	wantRefused(t, env, nil, "FAILOVER_DEVICE_KEY: the key")
	wantRefused(t, append(env, "FAILOVER_GROUP_KEY=!"), nil, "FAILOVER_GROUP_KEY: the key")
	wantRefused(t, append(env, "FAILOVER_GROUP_KEY=!"), []string{"--device-key-file", "/nowhere/key"}, "/nowhere/key")
	wantRefused(t, append(env, "FAILOVER_GROUP_KEY="+oldKey, "FAILOVER_DEVICE_KEY="+oldKey), nil, "more than one key")
	wantRefused(t, env, []string{"--device-key-file", "/nowhere/a", "--group-key-file", "/nowhere/b"},
		"more than one key")
}

func TestRotatedKeyIsUsedAtTheNextDial(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	must(t, cloud.Enroll("dev1", oldKey))
	key := file(t, "device.key", oldKey+"\n")
	p := start(t, command(t, append(withoutKey(deviceEnv(t, cloud)), "FAILOVER_DEVICE_KEY_FILE="+key), "run"))
	waitReadings(t, cloud, "A", 1)
	must(t, cloud.Enroll("dev1", newKey), os.WriteFile(key, []byte(newKey), 0o600),
		cloud.KillHub("A", emulator.RST, emulator.WithMove))
	waitReadings(t, cloud, "B", 1)
	p.terminate(0)
}

func TestMissingKeyFileWhileTheDeviceRunsIsReported(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	must(t, cloud.Enroll("dev1", oldKey))
	key := file(t, "device.key", oldKey)
	p := start(t, command(t, append(withoutKey(deviceEnv(t, cloud)), "FAILOVER_DEVICE_KEY_FILE="+key),
		"run", "--hub-wait=100ms", "--dps-wait=100ms", "--last-wait=100ms", "--first-rest=100ms", "--last-rest=100ms"))
	waitReadings(t, cloud, "A", 1)
	must(t, os.Remove(key), cloud.KillHub("A", emulator.FIN, emulator.WithMove))
	at := p.awaitAfter(0, "FAILOVER_DEVICE_KEY_FILE (--device-key-file): stat "+key+": no such file")
	at = p.awaitAfter(at, "next: ") // it rests, and says until when
	must(t, os.WriteFile(key, []byte(oldKey), 0o600))
	p.awaitAfter(at, "failed over from "+cloud.Hub("A")+" to "+cloud.Hub("B"))
	p.terminate(0)
}

func withoutKey(env []string) (rest []string) {
	for _, v := range env {
		if !strings.HasPrefix(v, "FAILOVER_GROUP_KEY=") {
			rest = append(rest, v)
		}
	}
	return rest
}
