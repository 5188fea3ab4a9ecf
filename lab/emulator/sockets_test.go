package emulator_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/lab/slow"
)

// onSockets runs a test with a cloud on real sockets and the real clock.
func onSockets(t *testing.T, config emulator.Config, test func(t *testing.T, w world)) {
	t.Helper()
	test(t, world{emulator.ForTest(t, config), t, nil})
}

func TestTheWholeWayOverSockets(t *testing.T) {
	slow.Test(t)
	onSockets(t, emulator.Config{RetryAfter: time.Second}, func(t *testing.T, w world) {
		if state := w.registerNow(t); state["assignedHub"] != w.Hub("A") {
			t.Fatalf("DPS assigns %v", state)
		}
		for _, step := range []struct {
			how  emulator.Fault
			lost error
		}{{emulator.FIN, io.EOF}, {emulator.RST, syscall.ECONNRESET}} {
			p := w.mustConnect(login{hub: "A"})
			p.mustPublish(events, "x")
			w.KillHub("A", step.how)
			if err := p.mustLose(5 * time.Second); !errors.Is(err, step.lost) {
				t.Errorf("%s: the connection ended with %v, want %v", step.how, err, step.lost)
			}
			if _, err := net.Dial("tcp", w.Hub("A")); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: dialing got %v", step.how, err)
			}
			if err := w.ReviveHub("A"); err != nil {
				t.Fatal(err)
			}
		}
		w.KillHub("A", emulator.Refuse)
		if code := w.refusal(login{hub: "A"}); code != 3 {
			t.Errorf("CONNACK %d", code)
		}
		w.MoveDevice(device, "B")
		w.mustConnect(login{hub: "B"}).mustPublish(events, "x")
		if n := len(w.Ledger()); n != 3 {
			t.Errorf("%d messages", n)
		}
		w.wantNoViolation()
	})
}

// registerNow registers the device without a fake clock and returns the registration state.
func (w world) registerNow(t *testing.T) map[string]any {
	p := w.mustConnect(login{})
	p.mustSubscribe("$dps/registrations/res/#")
	defer p.close()
	answer := func(n int) string {
		if err := w.Wait(t.Context(), func() bool { return w.Registrations(device) == 1 }); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			p.mu.Lock()
			received := p.received
			p.mu.Unlock()
			if len(received) == n {
				return string(received[n-1].Payload())
			}
		}
		t.Fatalf("no answer %d", n)
		return ""
	}
	p.mustPublish(strings.Replace(putTopic, "%d", "1", 1), `{"registrationId":"dev1"}`)
	operation, _ := object(t, answer(1))["operationId"].(string)
	time.Sleep(time.Second)
	p.mustPublish(strings.Replace(strings.Replace(getTopic, "%d", "2", 1), "%s", operation, 1), "")
	state, _ := object(t, answer(2))["registrationState"].(map[string]any)
	return state
}

func TestOwnAddressesNamesHubsWithoutPort(t *testing.T) {
	inBubble(t, emulator.Config{OwnAddresses: true}, func(t *testing.T, w world) {
		if got := w.DPSHost() + " " + w.Hub("A") + " " +
			w.Hub("B"); got != "127.0.0.1:8883 127.0.0.2:8883 127.0.0.3:8883" {
			t.Errorf("addresses %s", got)
		}
		if state := w.registerDevice(t); state["assignedHub"] != "127.0.0.2" {
			t.Errorf("DPS assigns %v", state)
		}
		w.mustConnect(login{hub: "A"}) // with the port, which is accepted with a note
		w.mustConnect(login{
			hub: "A", username: "127.0.0.2/dev1/?api-version=2021-04-12",
			sas: sas("127.0.0.2/devices/dev1", deviceKey(w.Cloud, device), time.Now().Add(time.Hour), ""),
		})
	})
}

func TestAnAddressThatIsNotLoopbackNeedsAnyAddress(t *testing.T) {
	for host, ok := range map[string]bool{
		"": true, "localhost": true, "127.0.0.9": true, "::1": true, "192.0.2.1": false, "example.com": false,
		"0.0.0.0": false, "::": false,
	} {
		cloud, err := emulator.Start(emulator.Config{Listen: memnet.New().Listen, Host: host})
		if (err == nil) != ok {
			t.Errorf("host %q: %v", host, err)
		}
		if err == nil {
			cloud.Close()
		}
	}
	cloud, err := emulator.Start(emulator.Config{Listen: memnet.New().Listen, Host: "192.0.2.1", AnyAddress: true})
	if err != nil {
		t.Fatal(err)
	}
	cloud.Close()
}

func TestABadConfigurationIsAnError(t *testing.T) {
	for name, config := range map[string]emulator.Config{
		"a hub twice":     {Hubs: []string{"A", "A"}},
		"a nameless hub":  {Hubs: []string{""}},
		"a hub named DPS": {Hubs: []string{"DPS"}},
		"no base64":       {GroupKey: "%"},
		"a negative time": {CommandLock: -1},
		"a taken address": {Listen: func(string) (net.Listener, error) { return nil, syscall.EADDRINUSE }},
	} {
		if cloud, err := emulator.Start(config); err == nil {
			cloud.Close()
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		t.Run("once", func(t *testing.T) {
			onSockets(t, emulator.Config{}, func(t *testing.T, w world) {
				conn, err := net.Dial("tcp", w.Hub("A")) // without a TLS handshake
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				p := w.mustConnect(login{hub: "A"})
				p.mustSubscribe(bound + "#")
				w.mustSend("1")
				w.KillHub("B", emulator.RST)
				w.Close()
				p.mustLose(5 * time.Second)
				if _, err := net.Dial("tcp", w.DPSHost()); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("dialing got %v", err)
				}
				if err := w.Close(); err != nil {
					t.Errorf("the second Close: %v", err)
				}
			})
		})
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines were %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestAClientThatDoesNotReadBlocksNoOtherAndIsClosed(t *testing.T) {
	onSockets(t, emulator.Config{}, func(t *testing.T, w world) {
		slow := w.rawConnect(0)
		slow.Write([]byte("\x82\x17\x00\x01\x00\x12$iothub/twin/res/#\x00"))
		if err := w.Wait(t.Context(), func() bool { return len(w.Subscriptions(device, "A")) == 1 }); err != nil {
			t.Fatal(err)
		}
		for i := range 7 {
			if err := w.SetDesired(device,
				map[string]any{string(rune('a' + i)): strings.Repeat("x", 4096)}); err != nil {
				t.Fatal(err)
			}
		}
		request := []byte("\x30\x1a\x00\x18$iothub/twin/GET/?$rid=1")
		for w.Connected(device, "A") {
			if _, err := slow.Write(request); err != nil {
				break
			}
		}
		if err := w.Wait(t.Context(), func() bool { return !w.Connected(device, "A") }); err != nil {
			t.Fatal(err)
		}
		w.mustConnect(login{hub: "A"}).mustPublish(events, "x")
		w.wantNoViolation()
	})
}

func TestDPSHasTheGivenPortAndTheHubsTheNextPorts(t *testing.T) {
	const port = 8883
	network := memnet.New()
	cloud := emulator.ForTest(t, emulator.Config{Listen: network.Listen, Port: port})
	for i, address := range []string{cloud.DPSHost(), cloud.Hub("A"), cloud.Hub("B")} {
		if _, got, _ := net.SplitHostPort(address); got != strconv.Itoa(port+i) {
			t.Errorf("endpoint %d is at %s, want port %d", i, address, port+i)
		}
	}
	for _, wrong := range []int{-1, 65535} {
		if _, err := emulator.Start(emulator.Config{Port: wrong}); err == nil ||
			!strings.Contains(err.Error(), "port") {
			t.Errorf("port %d: %v", wrong, err)
		}
	}
}

// Go's listeners, like most servers, set SO_REUSEADDR. With it, a listener can take a port that is
// only bound by another socket with the same option.
func TestAnEndpointThatIsDownHoldsItsPort(t *testing.T) {
	slow.Test(t)
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere a dead endpoint frees its port")
	}
	for _, how := range []emulator.Fault{emulator.FIN, emulator.RST, emulator.BlackHole} {
		t.Run(string(how), func(t *testing.T) {
			onSockets(t, emulator.Config{}, func(t *testing.T, w world) {
				for target, address := range map[string]string{"A": w.Hub("A"), emulator.TargetDPS: w.DPSHost()} {
					_, port, _ := net.SplitHostPort(address)
					for range 3 {
						conn, err := net.Dial("tcp", address) // the server's end of the connection uses the port, too
						if err != nil {
							t.Fatal(err)
						}
						w.mustInject(target, how, emulator.Params{})
						for _, taken := range []string{address, ":" + port} {
							if l, err := net.Listen("tcp", taken); !errors.Is(err, syscall.EADDRINUSE) {
								t.Errorf("%s: listening at %s got %v, %v", target, taken, l, err)
							}
						}
						if how != emulator.BlackHole {
							if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
								t.Errorf("%s: dialing got %v", target, err)
							}
						}
						w.mustClear(target, how)
						conn.Close()
					}
				}
				w.mustConnect(login{}).close()
				w.mustConnect(login{hub: "A"}).mustPublish(events, "x")
				w.mustInject("A", how, emulator.Params{})
				w.Close()
				l, err := net.Listen("tcp", w.Hub("A"))
				if err != nil {
					t.Fatalf("after the end: %v", err)
				}
				l.Close()
			})
		})
	}
}

// The system could give another port to an outgoing connection while the hub is down.
func TestFreePortsAreBelowThoseOfOutgoingConnections(t *testing.T) {
	cloud := emulator.ForTest(t, emulator.Config{})
	for _, address := range []string{cloud.DPSHost(), cloud.Hub("A"), cloud.Hub("B")} {
		_, port, err := net.SplitHostPort(address)
		if n, _ := strconv.Atoi(port); err != nil || n < 1024 || n >= 32768 {
			t.Errorf("%s: %v", address, err)
		}
	}
}
