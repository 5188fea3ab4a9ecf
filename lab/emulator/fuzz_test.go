package emulator_test

import (
	"io"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// FuzzPackets sends arbitrary bytes to a hub and to DPS, before and after CONNECT. It must not
// affect another device.
func FuzzPackets(f *testing.F) {
	for _, packet := range [][]byte{
		rawPublish, connectPacket(4, 0xc2, 0, "dev1", "u", "p"), connectPacket(4, 0x2e, 0, "dev1", "topic", "will"),
		{0x82, 8, 0, 1, 0, 3, 'a', '/', '#', 1},
		{
			0x62, 2, 0, 1}, {0xc0, 0}, {0xe0, 0}, {0x30, 0xff, 0xff, 0xff, 0x7f}, {0x40, 2, 0, 1},
		{0xa2, 5, 0, 1, 0, 1, 'a'},
		[]byte("\x30\x1d\x00\x19$iothub/twin/GET/?$rid=1&x"), []byte("\x82\x16\x00\x01\x00\x11$iothub/twin/res/#\x00"),
		[]byte("\x30\x2b\x00\x27$iothub/twin/PATCH/properties/reported/?{}"),
		[]byte("\x30\x1e\x00\x1c$iothub/methods/res/200/?$rid="),
	} {
		f.Add(packet, true)
		f.Add(packet, false)
	}
	f.Fuzz(func(t *testing.T, bytes []byte, loggedIn bool) {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			if loggedIn {
				conn := w.rawConnect(0)
				conn.Write(bytes)
				conn.SetReadDeadline(time.Now().Add(time.Minute))
				io.Copy(io.Discard, conn)
			} else {
				for _, address := range []string{w.Hub("A"), w.DPSHost()} {
					conn, err := dialTLS(w, w.network.DialContext, address)
					if err != nil {
						t.Fatal(err)
					}
					conn.Write(bytes)
					conn.SetReadDeadline(time.Now().Add(time.Minute))
					io.Copy(io.Discard, conn)
					conn.Close()
				}
			}
			w.Assign("dev2", "A")
			p := w.mustConnect(login{device: "dev2", hub: "A"})
			p.mustPublish("devices/dev2/messages/events/", "1")
			if n := len(w.Ledger()); n == 0 {
				t.Error("the other device's message has not arrived")
			}
		})
	})
}
