package emulator_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func TestAKilledHubEndsItsConnectionsAndRefusesNewOnes(t *testing.T) {
	for _, c := range []struct {
		how       emulator.Fault
		lost      error // nil means any error
		dial      error
		connackIs byte
	}{
		{emulator.FIN, io.EOF, syscall.ECONNREFUSED, 0xff},
		{emulator.RST, syscall.ECONNRESET, syscall.ECONNREFUSED, 0xff},
		{emulator.Refuse, io.EOF, nil, 3},
	} {
		t.Run(string(c.how), func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A"})
				other := w.mustConnect(login{hub: "B", device: "dev2"})
				if err := w.KillHub("A", c.how); err != nil {
					t.Fatal(err)
				}
				if err := p.mustLose(time.Nanosecond); !errors.Is(err, c.lost) {
					t.Errorf("the connection ended with %v, want %v", err, c.lost)
				}
				conn, err := w.network.DialContext(t.Context(), "tcp", w.Hub("A"))
				if !errors.Is(err, c.dial) {
					t.Errorf("dialing got %v, want %v", err, c.dial)
				}
				if conn != nil {
					conn.Close()
				}
				if code := w.refusal(login{hub: "A"}); code != c.connackIs {
					t.Errorf("CONNACK %d, want %d", code, c.connackIs)
				}
				if w.HubOf(device) != "A" {
					t.Error("the device was moved, and nobody asked for that")
				}
				other.mustPublish("devices/dev2/messages/events/", "hub B lives")
				w.wantNoViolation()
			})
		})
	}
}

func TestARevivedHubHasItsPortAndSubscriptions(t *testing.T) {
	for _, how := range []emulator.Fault{emulator.FIN, emulator.RST, emulator.Refuse} {
		t.Run(string(how), func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A"})
				p.mustSubscribe(bound + "#")
				w.KillHub("A", how)
				w.mustSend("while dead")
				w.SetDesired(device, map[string]any{"fanSpeed": 3})
				if err := w.ReviveHub("A"); err != nil {
					t.Fatal(err)
				}
				w.mustConnect(login{hub: "A"}).wantMessages(message("while%20dead")) // by its stored subscription
				if desired, _, _, _ := w.Twin(device); desired["fanSpeed"] != 3.0 {
					t.Errorf("the twin is %v", desired)
				}
			})
		})
	}
}

func TestDownFaultsCanFollowEachOther(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		w.KillHub("A", emulator.FIN)
		w.KillHub("A", emulator.Refuse)
		if code := w.refusal(login{hub: "A"}); code != 3 {
			t.Errorf("CONNACK %d", code)
		}
		w.KillHub("A", emulator.RST)
		if code := w.refusal(login{hub: "A"}); code != 0xff {
			t.Errorf("CONNACK %d", code)
		}
		w.ReviveHub("A")
		w.mustConnect(login{hub: "A"})
	})
}

func TestAMovedDeviceIsDisconnectedAndRefusedWith5AtItsOldHub(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(bound + "#")
		stays := w.mustConnect(login{hub: "A", device: "dev2"})
		w.mustPublishReported(p)
		if err := w.MoveDevice(device, "B"); err != nil {
			t.Fatal(err)
		}
		if err := p.mustLose(time.Nanosecond); !errors.Is(err, io.EOF) {
			t.Errorf("the connection ended with %v", err)
		}
		if code := w.refusal(login{hub: "A"}); code != 5 {
			t.Errorf("CONNACK %d at the old hub", code)
		}
		stays.mustPublish("devices/dev2/messages/events/", "not moved")

		if state := w.registerDevice(t); state["assignedHub"] != w.Hub("B") ||
			state["substatus"] != "deviceDataMigrated" {
			t.Errorf("DPS assigns %v", state)
		}
		p = w.mustConnect(login{hub: "B"})
		if _, reported, _, version := w.Twin(device); reported["a"] != 1.0 || version != 2 {
			t.Errorf("the twin is %v, version %d", reported, version)
		}
		if got := w.Subscriptions(device, "B"); len(got) != 0 {
			t.Errorf("hub B knows the subscriptions %q", got)
		}
		w.MoveDevice(device, "A") // and back
		p.mustLose(time.Nanosecond)
		w.mustConnect(login{hub: "A"})
		if got := w.Subscriptions(device, "A"); len(got) != 0 {
			t.Errorf("hub A still knows the subscriptions %q", got)
		}
		w.wantNoViolation()
	})
}

func (w world) mustPublishReported(p *peer) { p.mustPublish(report+"1", `{"a":1}`) }

// registerDevice registers the device and returns the registration state.
func (w world) registerDevice(t *testing.T) map[string]any {
	t.Helper()
	p := w.connectDPS(login{})
	defer p.close()
	_, operation := p.register(1)
	time.Sleep(3 * time.Second)
	_, body := p.request(fmt.Sprintf(getTopic, 2, operation), "")
	state, _ := object(t, body)["registrationState"].(map[string]any)
	return state
}

func TestKillingAHubDoesNotMoveItsDevices(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		w.KillHub("A", emulator.FIN)
		if state := w.registerDevice(t); state["assignedHub"] != w.Hub("A") {
			t.Errorf("DPS assigns %v", state)
		}
		w.KillHub("A", emulator.RST, emulator.WithMove)
		if state := w.registerDevice(t); state["assignedHub"] != w.Hub("B") {
			t.Errorf("after the move DPS assigns %v", state)
		}
		w.ReviveHub("A")
		if w.HubOf(device) != "B" {
			t.Error("reviving the hub moved the device back")
		}
		w.Enroll("new", "")
		if err := w.MoveDevices("B", "A"); err != nil || w.HubOf(device) != "A" || w.HubOf("new") != "" {
			t.Errorf("moved back: %v, now at %q and %q", err, w.HubOf(device), w.HubOf("new"))
		}
	})
}

func TestNewDevicesFollowAMove(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.MoveDevices("A", "B")
		if state := w.registerDevice(t); state["assignedHub"] != w.Hub("B") ||
			state["substatus"] != "initialAssignment" {
			t.Errorf("DPS assigns %v", state)
		}
	})
}

func TestUnknownNamesAreErrors(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Enroll(device, "")
		for name, err := range map[string]error{
			"kill":    w.KillHub("C", emulator.FIN),
			"how":     w.KillHub("A", "gently"),
			"revive":  w.ReviveHub("C"),
			"from":    w.MoveDevices("C", "A"),
			"to":      w.MoveDevices("A", "C"),
			"same":    w.MoveDevices("A", "A"),
			"device":  w.MoveDevice("dev9", "A"),
			"its hub": w.MoveDevice(device, "C"),
			"assign":  w.Assign(device, "C"),
			"enroll":  w.Enroll("a/b", ""),
			"key":     w.Enroll(device, "%"),
			"DPS":     w.BreakDPS("badly"),
			"message": w.SendMessage("dev9", emulator.Message{}),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), "emulator: ") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if w.Hub("C") != "" {
			t.Error("hub C has an address")
		}
	})
}

// streaming publishes with many messages in flight. The returned function stops it and returns the
// IDs of the acknowledged messages.
func streaming(p *peer) (acknowledged func() []string) {
	var mu sync.Mutex
	var acks []string
	var lanes sync.WaitGroup
	stop := make(chan struct{})
	for lane := range 50 {
		lanes.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d", lane, n)
				token := p.Publish(events+"$.mid="+id, 1, false, "x")
				select {
				case <-token.Done():
				case <-stop: // after the loss of the connection, a token may never be done
					return
				}
				if token.Error() != nil {
					return
				}
				mu.Lock()
				acks = append(acks, id)
				mu.Unlock()
			}
		})
	}
	return func() []string {
		close(stop)
		lanes.Wait()
		return acks
	}
}

func TestNothingIsStoredOrAcknowledgedAfterAHubWasKilled(t *testing.T) {
	for name, fault := range map[string]func(w world) error{
		"fin":    func(w world) error { return w.KillHub("A", emulator.FIN) },
		"rst":    func(w world) error { return w.KillHub("A", emulator.RST) },
		"refuse": func(w world) error { return w.KillHub("A", emulator.Refuse) },
		"move":   func(w world) error { return w.MoveDevice(device, "B") },
	} {
		for where, run := range map[string]func(*testing.T, emulator.Config, func(*testing.T, world)){
			"memory": inBubble, "sockets": onSockets,
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				t.Parallel()
				run(t, emulator.Config{}, func(t *testing.T, w world) {
					if where == "memory" {
						w.network.SetLatency(time.Millisecond)
					}
					p := w.mustConnect(login{hub: "A"})
					acknowledged := streaming(p)
					enough := func() bool { return len(w.Ledger()) > 500 }
					if err := w.Wait(t.Context(), enough); err != nil {
						t.Fatal(err)
					}
					if err := fault(w); err != nil {
						t.Fatal(err)
					}
					stored := w.Ledger()
					p.mustLose(5 * time.Second)
					for _, id := range acknowledged() {
						if !slices.ContainsFunc(stored, func(d emulator.Delivery) bool { return d.MessageID == id }) {
							t.Errorf("%s was acknowledged and not stored", id)
						}
					}
					if late := len(w.Ledger()) - len(stored); late > 0 {
						t.Errorf("%d messages were stored afterwards", late)
					}
					if where == "memory" {
						synctest.Wait()
					}
					w.wantNoViolation()
				})
			})
		}
	}
}
