package drill_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"software.sslmate.com/src/go-pkcs12"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/lab/scenario"
	"giantlizard.example/failover/transport"
)

// A reader is a client that only looks at its environment.
type reader struct {
	network *memnet.Network
	look    func(variables map[string]string)
}

func (r reader) Start(p drill.Place) (drill.Running, error) {
	variables := map[string]string{}
	for _, v := range p.Environment() {
		name, value, _ := strings.Cut(v, "=")
		variables[name] = value
	}
	r.look(variables)
	ended := make(chan struct{})
	close(ended)
	return &running{cancel: func() {}, ended: ended}, nil
}

// inPlace calls a function with the variables of a client whose cloud runs in memory.
func inPlace(t *testing.T, config emulator.Config, look func(t *testing.T, n *memnet.Network, v map[string]string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		config.Listen = network.Listen
		d := drill.Drill{
			Client:   reader{network, func(v map[string]string) { look(t, network, v) }},
			DeviceID: "dev1", Interval: time.Second, Cloud: config,
			Scenarios: []scenario.Scenario{parse(t, "# Nothing happens.\nexpect missing 0\nend 1s")},
		}
		if _, err := d.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// trusted opens a TLS connection that is trusted by the PEM file of the variables.
func trusted(t *testing.T, n *memnet.Network, v map[string]string, host, port string) *tls.Conn {
	t.Helper()
	raw, err := n.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	roots, err := transport.RootsFromFile(v["FAILOVER_CA_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: host})
	if err := conn.HandshakeContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestEachAddressOfTheEnvironmentIsInAllItsForms(t *testing.T) {
	for _, config := range []emulator.Config{{}, {OwnAddresses: true}} {
		inPlace(t, config, func(t *testing.T, n *memnet.Network, v map[string]string) {
			for _, endpoint := range []string{"DPS", "HUB_A", "HUB_B"} {
				host, port := v["EMULATOR_"+endpoint+"_HOST"], v["EMULATOR_"+endpoint+"_PORT"]
				if v["EMULATOR_"+endpoint+"_ADDRESS"] != host+":"+port {
					t.Errorf("%s is %s, %s and %s", endpoint, host, port, v["EMULATOR_"+endpoint+"_ADDRESS"])
				}
				trusted(t, n, v, host, port).Close()
			}
			want := v["EMULATOR_DPS_ADDRESS"]
			if config.OwnAddresses { // for SDKs that cannot use another port than 8883
				want = "127.0.0.1"
			}
			if v["FAILOVER_PROVISIONING_HOST"] != want {
				t.Errorf("the provisioning host is %s, want %s", v["FAILOVER_PROVISIONING_HOST"], want)
			}
		})
	}
}

func TestConnectionStringsOfTheEnvironmentWorkWithoutDPS(t *testing.T) {
	for _, config := range []emulator.Config{{}, {OwnAddresses: true}} {
		inPlace(t, config, func(t *testing.T, n *memnet.Network, v map[string]string) {
			if v["IOTHUB_DEVICE_CONNECTION_STRING"] != v["EMULATOR_HUB_A_CONNECTION_STRING"] {
				t.Errorf("the device is at hub A, and its string is %s", v["IOTHUB_DEVICE_CONNECTION_STRING"])
			}
			for hub, want := range map[string]byte{"HUB_A": 0, "HUB_B": 5} {
				form := regexp.MustCompile(`^HostName=(.+);DeviceId=(.+);SharedAccessKey=(.+)$`)
				fields := form.FindStringSubmatch(v["EMULATOR_"+hub+"_CONNECTION_STRING"])
				if fields == nil || fields[2] != v["FAILOVER_DEVICE_ID"] || fields[3] != v["FAILOVER_DEVICE_KEY"] {
					t.Fatalf("%s: %q", hub, fields)
				}
				key, err := transport.ParseKey(fields[3])
				if err != nil {
					t.Fatal(err)
				}
				c := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
				c.ProtocolName, c.ProtocolVersion, c.CleanSession = "MQTT", 4, true
				c.ClientIdentifier, c.Username = fields[2], fields[1]+"/"+fields[2]+"/?api-version=2021-04-12"
				c.UsernameFlag, c.PasswordFlag = true, true
				c.Password = []byte(transport.SAS(fields[1]+"/devices/"+fields[2], "", key, time.Now().Add(time.Hour)))
				conn := trusted(t, n, v, v["EMULATOR_"+hub+"_HOST"], v["EMULATOR_"+hub+"_PORT"])
				if err := c.Write(conn); err != nil {
					t.Fatal(err)
				}
				answer, err := packets.ReadPacket(conn)
				if connack, ok := answer.(*packets.ConnackPacket); !ok || connack.ReturnCode != want {
					t.Errorf("%s: %v, %v, want CONNACK %d", hub, answer, err, want)
				}
				conn.Close()
			}
		})
	}
}

func TestBothFilesOfTheEnvironmentHoldTheAuthority(t *testing.T) {
	inPlace(t, emulator.Config{}, func(t *testing.T, _ *memnet.Network, v map[string]string) {
		text, err := os.ReadFile(v["FAILOVER_CA_FILE"])
		if err != nil {
			t.Fatal(err)
		}
		store, err := os.ReadFile(v["EMULATOR_TRUST_STORE"])
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		same := func(c *x509.Certificate) bool { return slices.Equal(c.Raw, block.Bytes) }
		all, err := pkcs12.DecodeTrustStore(store, v["EMULATOR_TRUST_STORE_PASSWORD"])
		if err != nil || len(all) != 1 || !same(all[0]) {
			t.Errorf("the trust store holds %d certificates, %v", len(all), err)
		}
	})
}

func TestNamesOfMicrosoftsSamplesHaveTheSameValues(t *testing.T) {
	inPlace(t, emulator.Config{}, func(t *testing.T, _ *memnet.Network, v map[string]string) {
		for name, same := range map[string]string{
			"IOTHUB_DEVICE_DPS_ENDPOINT":   "FAILOVER_PROVISIONING_HOST",
			"IOTHUB_DEVICE_DPS_ID_SCOPE":   "FAILOVER_ID_SCOPE",
			"IOTHUB_DEVICE_DPS_DEVICE_ID":  "FAILOVER_DEVICE_ID",
			"IOTHUB_DEVICE_DPS_DEVICE_KEY": "FAILOVER_DEVICE_KEY",
			"NODE_EXTRA_CA_CERTS":          "FAILOVER_CA_FILE", "SSL_CERT_FILE": "FAILOVER_CA_FILE",
		} {
			if v[name] == "" || v[name] != v[same] {
				t.Errorf("%s is %q, and %s is %q", name, v[name], same, v[same])
			}
		}
	})
}

func TestTheDocumentListsEachVariable(t *testing.T) {
	text, err := os.ReadFile("../../docs/drill.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, name := range regexp.MustCompile("`((?:[A-Z]+_)+[A-Z]+)`").FindAllSubmatch(text, -1) {
		listed[string(name[1])] = true
	}
	inPlace(t, emulator.Config{}, func(t *testing.T, _ *memnet.Network, v map[string]string) {
		for name := range v {
			if !listed[name] {
				t.Errorf("docs/drill.md does not list %s", name)
			}
			delete(listed, name)
		}
		for name := range listed {
			t.Errorf("docs/drill.md lists %s, which is not set", name)
		}
	})
}
