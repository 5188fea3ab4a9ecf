package emulator_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// dialRaw connects to hub A without TLS.
func (w world) dialRaw(within time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(w.Context(), within)
	defer cancel()
	conn, err := login{}.complete(w).dial(ctx, "tcp", w.Hub("A"))
	if err == nil {
		w.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// wantNothing checks that no data arrives for a while.
func (w world) wantNothing(conn net.Conn) {
	w.Helper()
	conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		w.Errorf("read %d bytes, %v", n, err)
	}
	conn.SetReadDeadline(time.Time{})
}

func TestASilentHubKeepsItsConnectionsAndSendsNothing(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		w.mustInject("A", emulator.Silence, emulator.Params{})
		token := p.Publish(events, 1, false, "into the silence")
		conn, err := w.dialRaw(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		hello := []byte{22, 3, 1, 0, 4, 1, 0, 0, 0}
		conn.Write(hello)
		w.wantNothing(conn)
		select {
		case <-token.Done():
			t.Errorf("the message was acknowledged: %v", token.Error())
		case err := <-p.lost:
			t.Errorf("the connection ended: %v", err)
		default:
		}
		if len(w.Ledger()) != 0 {
			t.Error("the message was stored")
		}
		w.mustClear("A", emulator.Silence)
		if !token.WaitTimeout(5*time.Second) || len(w.Ledger()) != 1 {
			t.Errorf("healed: %v, %d messages", token.Error(), len(w.Ledger()))
		}
		w.wantNoViolation()
	})
}

func TestASilentHubEndsSessionsByKeepAliveAndResetsThemWhenCleared(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		raw := w.rawConnect(10 * time.Second)
		w.mustInject("A", emulator.Silence, emulator.Params{})
		raw.Write([]byte{0xc0, 0})
		raw.SetReadDeadline(time.Now().Add(14 * time.Second))
		raw.Read(make([]byte, 1))
		if !w.Connected(device, "A") {
			t.Error("the hub has no patience")
		}
		raw.SetReadDeadline(time.Now().Add(24 * time.Hour))
		if _, err := raw.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the client learnt %v", err)
		}
		if w.Connected(device, "A") {
			t.Error("the hub does not miss its client")
		}
		w.mustClear("A", emulator.Silence)
		raw.SetReadDeadline(time.Time{})
		if _, err := raw.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after Clear: %v", err)
		}
		w.mustConnect(login{hub: "A"})
		w.wantNoViolation()
	})
}

func TestADeviceMovedFromASilentHubReceivesNothing(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		raw := w.rawConnect(0)
		w.mustInject("A", emulator.Silence, emulator.Params{})
		if err := w.MoveDevice(device, "B"); err != nil {
			t.Fatal(err)
		}
		w.wantNothing(raw)
		w.mustConnect(login{hub: "B"})
	})
}

func TestAnotherDownFaultCanReplaceSilence(t *testing.T) {
	for how, want := range map[emulator.Fault]error{emulator.FIN: io.EOF, emulator.RST: syscall.ECONNRESET} {
		t.Run(string(how), func(t *testing.T) {
			onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
				raw := w.rawConnect(0)
				w.KillHub("A", emulator.Silence)
				raw.Write(rawPublish)
				w.KillHub("A", how)
				if _, err := raw.Read(make([]byte, 1)); !errors.Is(err, want) {
					t.Errorf("the connection ended with %v", err)
				}
				if _, err := w.dialRaw(5 * time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("dialing got %v", err)
				}
				if active := w.ActiveFaults(); len(active) != 1 || active[0].Fault != how {
					t.Errorf("the active faults are %+v", active)
				}
				w.ReviveHub("A")
				w.mustConnect(login{hub: "A"})
				if len(w.Ledger()) != 0 {
					t.Error("what was sent into the silence was stored")
				}
			})
		})
	}
}

func TestABlackHoleAnswersNoDial(t *testing.T) {
	slow.Test(t)
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		if w.network == nil && runtime.GOOS != "linux" {
			if err := w.Inject("A", emulator.BlackHole, emulator.Params{}); err == nil || len(w.ActiveFaults()) != 0 {
				t.Errorf("on %s: %v", runtime.GOOS, err)
			}
			return
		}
		raw := w.rawConnect(0)
		w.mustInject("A", emulator.BlackHole, emulator.Params{})
		for range 2 {
			if _, err := w.dialRaw(300 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) &&
				!errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("dialing got %v", err)
			}
		}
		w.wantNothing(raw)
		w.mustConnect(login{hub: "B", device: "dev2"})
		w.mustInject("A", emulator.BlackHole, emulator.Params{}) // repeated
		w.mustClear("A", emulator.BlackHole)
		w.mustConnect(login{hub: "A"})
	})
}

func TestBlackHoleIsAnErrorOnANetworkWithoutIt(t *testing.T) {
	listen := func(address string) (net.Listener, error) {
		l, err := net.Listen("tcp", address)
		return struct{ net.Listener }{l}, err
	}
	w := world{emulator.ForTest(t, emulator.Config{Listen: listen}), t, nil}
	if err := w.Inject("A", emulator.BlackHole, emulator.Params{}); err == nil || len(w.ActiveFaults()) != 0 {
		t.Errorf("active are %+v: %v", w.ActiveFaults(), err)
	}
	w.mustConnect(login{hub: "A"})
	w.KillHub("A", emulator.FIN)
	if err := w.Inject("A", emulator.BlackHole, emulator.Params{}); err == nil ||
		w.ActiveFaults()[0].Fault != emulator.FIN {
		t.Errorf("active are %+v: %v", w.ActiveFaults(), err)
	}
	if _, err := w.dialRaw(5 * time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialing got %v", err)
	}
}
