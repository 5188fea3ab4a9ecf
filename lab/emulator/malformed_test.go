package emulator_test

import (
	"io"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func TestGarbageReplacesCONNACK(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		for target, l := range map[string]login{"DPS": {}, "A": {hub: "A"}} {
			w.mustInject(target, emulator.GarbageCONNACK, emulator.Params{Count: 1})
			if _, err := w.connect(l); err == nil {
				t.Errorf("%s: the login was accepted", target)
			}
			w.mustConnect(l)
		}
		w.wantNoViolation()
	})
}

func TestMalformedBytesAreSentAtOnceAndAfterCONNACK(t *testing.T) {
	for fault, c := range map[emulator.Fault]struct {
		prefix string
		ends   bool
	}{
		emulator.Garbage:       {"\xf0\x1e", false},
		emulator.Truncated:     {"\x30\x64\x00\x40$iothub", true},
		emulator.Oversize:      {"\x30\xff\xff\xff\x7f", false},
		emulator.EndlessLength: {"\x30\xff\xff\xff\xff\x7f", false},
	} {
		t.Run(string(fault), func(t *testing.T) {
			onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
				conn := w.rawConnect(0)
				w.mustInject("A", fault, emulator.Params{})
				for range 2 {
					if got := w.readAll(conn, len(c.prefix)); got != c.prefix {
						t.Errorf("got %q, want %q", got, c.prefix)
					}
					if c.ends {
						if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
							t.Errorf("then %q, %v", rest, err)
						}
					}
					conn = w.rawConnect(0)
				}
				w.mustClear("A", fault)
				w.mustConnect(login{hub: "A"}).mustPublish(events, "well again")
				w.wantNoViolation()
			})
		})
	}
}

func TestGarbageAndShortPacketsEndARealClientsConnection(t *testing.T) {
	for _, fault := range []emulator.Fault{emulator.Garbage, emulator.Truncated} {
		t.Run(string(fault), func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				p := w.mustConnect(login{hub: "A"})
				other := w.mustConnect(login{})
				w.mustInject("A", fault, emulator.Params{Count: 1})
				p.mustLose(time.Second)
				w.mustInject("DPS", fault, emulator.Params{Count: 1})
				other.mustLose(time.Second)
				if active := w.ActiveFaults(); len(active) != 0 {
					t.Errorf("the active faults are %+v", active)
				}
				w.mustConnect(login{hub: "A"}).mustPublish(events, "well again")
			})
		})
	}
}

func TestASubscriptionIsRefused(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		for target, p := range map[string]*peer{"DPS": w.mustConnect(login{}), "A": w.mustConnect(login{hub: "A"})} {
			w.mustInject(target, emulator.SUBACKRefused, emulator.Params{Count: 1})
			filter := map[string]string{"DPS": "$dps/registrations/res/#", "A": "$iothub/twin/res/#"}[target]
			token := p.Subscribe(filter, 1, nil)
			token.Wait()
			if granted := token.(interface{ Result() map[string]byte }).Result()[filter]; granted != 0x80 {
				t.Errorf("%s granted %#x", target, granted)
			}
			if got := w.Subscriptions(device, "A"); target == "A" && len(got) != 0 {
				t.Errorf("subscribed to %q", got)
			}
			p.mustSubscribe(filter)
		}
		w.wantNoViolation()
	})
}

func TestASUBACKHasMoreCodesThanFilters(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		raw := w.rawConnect(0)
		w.mustInject("A", emulator.SUBACKLong, emulator.Params{Count: 1})
		for _, want := range []string{"\x90\x06\x00\x01\x00\x01\x01\x01", "\x90\x03\x00\x01\x00"} {
			raw.Write([]byte("\x82\x17\x00\x01\x00\x12$iothub/twin/res/#\x00"))
			if got := w.readAll(raw, len(want)); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		w.wantNoViolation()
	})
}
