package emulator_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// connectPacket returns the bytes of a CONNECT. It can contain what no MQTT library sends.
func connectPacket(version byte, flags byte, keepAlive time.Duration, fields ...string) []byte {
	body := append([]byte("\x00\x04MQTT"), version, flags)
	body = binary.BigEndian.AppendUint16(body, uint16(keepAlive/time.Second))
	for _, field := range fields {
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(field))), field...)
	}
	packet := append([]byte{0x10}, binary.AppendUvarint(nil, uint64(len(body)))...)
	return append(packet, body...)
}

// rawPublish is a PUBLISH with packet identifier 1. Tests of a reset use it instead of a client with
// goroutines, because the kernel reports a reset only once: either to the reader or to the writer.
var rawPublish = []byte("\x32\x21\x00\x1ddevices/dev1/messages/events/\x00\x01")

// rawConnect logs in to hub A and returns the TLS connection after CONNACK.
func (w world) rawConnect(keepAlive time.Duration) net.Conn {
	w.Helper()
	w.Assign(device, "A")
	l := login{hub: "A", tokenLife: 100 * time.Hour}.complete(w)
	conn, err := dialTLS(w, l.dial, w.Hub("A"))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { conn.Close() })
	conn.Write(connectPacket(4, 0xc2, keepAlive, l.clientID, l.username, l.sas))
	var connack [4]byte
	if _, err := io.ReadFull(conn, connack[:]); err != nil || connack != [4]byte{0x20, 2, 0, 0} {
		w.Fatalf("CONNACK %v, %v", connack, err)
	}
	return conn
}

func TestAClientHasAMinuteForTLSAndAnotherForCONNECT(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		for name, dial := range map[string]func() (net.Conn, error){
			"silent before TLS": func() (net.Conn,
				error) {
				return w.network.DialContext(t.Context(), "tcp", w.Hub("A"))
			},
			"silent after TLS": func() (net.Conn, error) { return dialTLS(w, w.network.DialContext, w.Hub("A")) },
		} {
			conn, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(start); took != time.Minute {
				t.Errorf("%s: closed after %v", name, took)
			}
			conn.Close()
		}
		w.wantNoViolation()
	})
}

func TestBytesThatAreNotMQTTEndTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []byte
		part  string
	}{
		"a reserved packet type":      {[]byte{0x00, 0x00}, "MQTT 3.1.1 does not allow"},
		"a second CONNECT":            {connectPacket(4, 2, 0, "dev1"), "type 1"},
		"PUBREL":                      {[]byte{0x62, 2, 0, 1}, "type 6"},
		"a server's packet":           {[]byte{0xd0, 0}, "type 13"},
		"QoS 3":                       {[]byte{0x36, 5, 0, 1, 'a', 0, 1}, "MQTT 3.1.1 does not allow"},
		"a publish without an id":     {[]byte{0x32, 5, 0, 1, 'a', 0, 0}, "without a packet identifier"},
		"a subscribe without filters": {[]byte{0x82, 2, 0, 1}, "MQTT 3.1.1 does not allow"},
		"a length beyond all sense":   {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, "a packet of more than"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				conn := w.rawConnect(0)
				conn.Write(c.bytes)
				io.Copy(io.Discard, conn)
				w.wantViolation(c.part)
			})
		})
	}
}

func TestAnInvalidCONNECTIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []byte
		want  string
	}{
		"MQTT 5":                       {connectPacket(5, 2, 0, "", "dev1"), "\x20\x02\x00\x01"},
		"a password without a user":    {connectPacket(4, 0x42, 0, "dev1", "x"), ""},
		"a will's QoS without will":    {connectPacket(4, 0x0a, 0, "dev1"), ""},
		"something other than CONNECT": {[]byte{0xc0, 0}, ""},
		"a CONNECT that is cut short":  {[]byte{0x10, 3, 0, 4, 'M'}, ""},
		"no user name and no password": {connectPacket(4, 2, 0, "dev1"), "\x20\x02\x00\x04"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				conn, err := dialTLS(w, w.network.DialContext, w.Hub("A"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.Write(c.bytes)
				if answer, _ := io.ReadAll(conn); string(answer) != c.want {
					t.Errorf("answered %q, want %q", answer, c.want)
				}
				if len(w.Violations()) != 1 {
					t.Errorf("violations: %q", w.Violations())
				}
			})
		})
	}
}
