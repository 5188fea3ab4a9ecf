//go:build unix

package main_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
)

// misplacedSecrets returns secrets that a person may put into the wrong place.
func misplacedSecrets(t *testing.T) map[string]canary {
	t.Helper()
	token := tokenCanaries("hub.azure-devices.net/devices/dev1", "", key(t, []byte(canaryDevice)),
		time.Unix(1893456000, 0))
	return map[string]canary{
		"the group key": newCanary([]byte(canaryGroup)), "the device key": newCanary([]byte(canaryDevice)),
		"the derived key": newCanary(derived(canaryGroup, "dev1")), "a token": token[0], "a signature": token[1],
		"a connection string": {"raw": "HostName=hub.azure-devices.net;DeviceId=dev1;SharedAccessKey=" +
			base64.StdEncoding.EncodeToString([]byte(canaryDevice))},
	}
}

func TestSecretInAWrongSettingIsNotQuoted(t *testing.T) {
	slow.Test(t)
	for what, c := range misplacedSecrets(t) {
		for how, form := range c {
			t.Run(what+" "+how, func(t *testing.T) {
				t.Parallel()
				wantUnquoted(t, c, file(t, "a.key", form), form)
			})
		}
	}
}

// wantUnquoted puts a form of a secret into the wrong places. keyFile contains that form.
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
	// Files of the wrong kind. A file with a key in base64 is valid where a key is expected.
	refused(who, "--group-key-file", file(t, "bad.key", "!"+form))
	refused(append(complete[:3:3], "FAILOVER_CA_FILE="+keyFile))
	refused(append(complete[:3:3], "FAILOVER_DEVICE_KEY_FILE="+keyFile))
	for _, line := range []string{form, "FAILOVER_WINDOW=" + form, "FAILOVER_WINDOW='" + form, form + "=1\n=2",
		"FAILOVER_GROUP_KEY=!" + form} {
		refused(nil, "--env-file", file(t, "my.env", line))
	}
	// bytes that nobody can type or copy
	if strings.ContainsFunc(form, func(r rune) bool { return r < ' ' || r > '~' }) {
		return
	}
	refused(nil, "--env-file", file(t, "my.env", "FAILOVER_ID_SCOPE=\"/"+form+"\""))
	refused(append(who, "FAILOVER_GROUP_KEY_FILE="+form, "FAILOVER_CA_FILE="+form))
	refused(append(who, "FAILOVER_ENV_FILE="+form))
	refused(append(who, "FAILOVER_WINDOW="+form, "FAILOVER_NO_TELEMETRY="+form, "FAILOVER_HOLD="+form,
		"FAILOVER_DRAIN_RATE="+form))
	var everywhere []string
	for _, name := range []string{
		"PROVISIONING_HOST", "ID_SCOPE", "DEVICE_ID", "LOG_FORMAT", "LOG_LEVEL", "MODEL_KEY",
	} {
		everywhere = append(everywhere, "FAILOVER_"+name+"=/"+form)
	}
	refused(append(everywhere, "FAILOVER_GROUP_KEY=!"+form, "FAILOVER_DEVICE_KEY="+form))
	refused(append(everywhere, "IOTHUB_DEVICE_DPS_DEVICE_KEY=!"+form))
	// Every user can read command lines, but what is printed must not contain the secret.
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
