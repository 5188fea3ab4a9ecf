//go:build unix && !nolab

package main_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"software.sslmate.com/src/go-pkcs12"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/transport"
)

func TestDeviceConnectsWithTheConnectionStringOfASecondTerminal(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	dir := t.TempDir()
	cloud, exports := emulate(t, dir)
	x := &terminal{t: t, env: []string{"FAILOVER_CONTROL_FILE=" + filepath.Join(dir, "control.json")}}
	text, _ := x.types(0, "emulator", "device", "dev7", "--hub", "B")
	fields := regexp.MustCompile(`^HostName=(.+);DeviceId=(dev7);SharedAccessKey=(.+)\n$`).FindStringSubmatch(text)
	if fields == nil || !strings.Contains(exports, "hub B is "+fields[1]+".") {
		t.Fatalf("it prints %q", text)
	}
	if again, _ := x.types(0, "emulator", "device", "dev7"); again != text {
		t.Errorf("the second time it prints %q", again)
	}
	roots, err := transport.RootsFromFile(filepath.Join(dir, "failover-ca.pem"))
	must(t, err)
	conn, err := tls.Dial("tcp", fields[1], &tls.Config{RootCAs: roots})
	must(t, err)
	defer conn.Close()
	deviceKey, err := transport.ParseKey(fields[3])
	must(t, err)
	c := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	c.ProtocolName, c.ProtocolVersion, c.CleanSession, c.UsernameFlag, c.PasswordFlag = "MQTT", 4, true, true, true
	c.ClientIdentifier, c.Username = "dev7", fields[1]+"/dev7/?api-version=2021-04-12"
	c.Password = []byte(transport.SAS(fields[1]+"/devices/dev7", "", deviceKey, time.Now().Add(time.Hour)))
	must(t, c.Write(conn))
	answer, err := packets.ReadPacket(conn)
	if connack, ok := answer.(*packets.ConnackPacket); !ok || connack.ReturnCode != 0 {
		t.Errorf("the hub answers %v, %v", answer, err)
	}
	cloud.stdout.await(cloud, 0, "hub B  dev7       connected")

	if _, stderr := x.types(1, "emulator", "device", "dev7", "--hub", "A"); !strings.Contains(stderr,
		"dev7 is at hub B") || !strings.Contains(stderr, "leave --hub out") {
		t.Errorf("at the other hub: %s", stderr)
	}
	if _, stderr := x.types(2, "emulator", "device", "dev8", "--hub", "C"); !strings.Contains(stderr,
		"there are A, B") {
		t.Errorf("at a hub that does not exist: %s", stderr)
	}
	if log := cloud.stdout.String(); strings.Contains(log, fields[3]) {
		t.Errorf("the emulator prints the key of the device:\n%s", log)
	}
}

func TestCAFileMayNotHaveTheNameOfThePKCS12File(t *testing.T) {
	code, _, stderr := run(t, nil, "emulator", "--port=0", "--control-port=0", "--ca-file=ca.p12")
	if code != 2 || !strings.Contains(stderr, "PKCS#12 file beside it") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestSettingsForOtherClientsAreWhatTheySay(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	_, exports := emulate(t, t.TempDir())
	v := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)='(.*)'$`).FindAllStringSubmatch(exports, -1) {
		v[m[1]] = m[2]
	}
	roots, err := transport.RootsFromFile(v["FAILOVER_CA_FILE"])
	must(t, err)
	for _, endpoint := range []string{"EMULATOR_DPS", "EMULATOR_HUB_A", "EMULATOR_HUB_B"} {
		if v[endpoint+"_ADDRESS"] != v[endpoint+"_HOST"]+":"+v[endpoint+"_PORT"] {
			t.Errorf("%s: %q", endpoint, v)
		}
		conn, err := tls.Dial("tcp", v[endpoint+"_ADDRESS"], &tls.Config{RootCAs: roots})
		must(t, err)
		must(t, conn.Close())
	}
	text, err := os.ReadFile(v["EMULATOR_TRUST_STORE"])
	must(t, err)
	if all, err := pkcs12.DecodeTrustStore(text, v["EMULATOR_TRUST_STORE_PASSWORD"]); err != nil || len(all) != 1 {
		t.Errorf("the trust store holds %d certificates, %v", len(all), err)
	}
}
