package machine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
)

func in(dir string) func(*machine.Settings) {
	return func(s *machine.Settings) { s.Storage.StateDir = dir }
}

// copied is the state directory as a kill at this moment leaves it.
func copied(t *testing.T, dir string) string {
	t.Helper()
	other := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return other
}

// offline takes hub A from a device that is connected to it, and DPS.
func (w *twinWorld) offline() {
	w.t.Helper()
	from := w.count()
	if err := w.cloud.StopDPS(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.cloud.KillHub("A", emulator.FIN); err != nil {
		w.t.Fatal(err)
	}
	w.awaitState(machine.Failover, from)
}

func (w *twinWorld) revive() {
	w.t.Helper()
	if err := w.cloud.ReviveHub("A"); err != nil {
		w.t.Fatal(err)
	}
}

// wantSent starts a device and wants so many patches of it, and none of the one that is started after it.
func (w *twinWorld) wantSent(patches int, dir string) {
	w.t.Helper()
	if sent := w.patches(func() { w.connected(); time.Sleep(time.Minute) }); sent != patches {
		w.t.Errorf("%d patches after the restart, want %d", sent, patches)
	}
	if err := w.close(); err != nil {
		w.t.Error(err)
	}
	last := w.again(in(dir))
	if sent := last.patches(func() { last.connected(); time.Sleep(time.Minute) }); sent != 0 {
		w.t.Errorf("%d more patches after one more restart", sent)
	}
	w.wantNoViolation()
}

func TestPropertiesReportedOfflineAreSentOnceAfterARestart(t *testing.T) {
	slow.Test(t)
	for name, c := range map[string]struct {
		connectedBefore bool
		killed          bool
		change          func(*machine.Settings)
	}{
		"ended":                     {true, false, nil},
		"killed":                    {true, true, nil},
		"ended, never run":          {false, false, nil},
		"killed, never run":         {false, true, nil},
		"ended, with time to write": {true, false, func(s *machine.Settings) { s.Storage.SyncEvery = time.Hour }},
		"killed, after time to write": {
			true, true, func(s *machine.Settings) { s.Storage.SyncEvery = 10 * time.Second },
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			settings := func(s *machine.Settings) {
				s.Storage.StateDir = dir
				if c.change != nil {
					c.change(s)
				}
			}
			twinBubbleWith(t, settings, func(t *testing.T, w *twinWorld) {
				want := `{"battery":79,"n":9}`
				w.cloud.Enroll(deviceID, "")
				if c.connectedBefore {
					w.connected()
					w.report(`{"removed":1,"o":{"x":1,"y":1}}`)
					synctest.Wait()
					if _, err := os.Stat(filepath.Join(dir, "twin.json")); err == nil {
						t.Error("a hub has confirmed what is still on the disk")
					}
					w.offline()
					want = `{"battery":79,"n":9,"o":{"y":2}}`
				}
				w.report(`{"battery":80,"removed":null,"n":1}`)
				for n := range 10 {
					w.report(fmt.Sprintf(`{"n":%d}`, n))
				}
				w.report(`{"battery":79}`)
				if c.connectedBefore {
					w.report(`{"o":{"x":null,"y":2}}`)
				}
				if c.change != nil {
					time.Sleep(10 * time.Second)
					synctest.Wait()
				}
				next := dir
				if c.killed {
					next = copied(t, dir)
				}
				w.device.Close(t.Context())
				if c.connectedBefore {
					w.revive()
				}
				again := w.again(in(next))
				again.wantSent(1, next)
				again.wantReported(want)
			})
		})
	}
}

// The hub may have it or not; the newest value counts.
func TestReadingsInFlightWhenTheDeviceWasKilledAreSentAgain(t *testing.T) {
	for _, arrived := range []bool{false, true} {
		dir := t.TempDir()
		twinBubbleWith(t, in(dir), func(t *testing.T, w *twinWorld) {
			w.connected()
			if arrived {
				w.network.SetLatency(time.Second)
			} else {
				w.strike(emulator.TwinMute, emulator.Params{})
			}
			w.report(`{"a":1,"b":1}`)
			synctest.Wait()
			w.report(`{"a":2}`)
			next := copied(t, dir)
			w.cloud.Clear(deviceID, emulator.TwinMute)
			w.offline()
			w.close()
			w.network.SetLatency(0)
			w.revive()
			again := w.again(in(next))
			again.wantSent(1, next)
			again.wantReported(`{"a":2,"b":1}`)
		})
	}
}

// A handler is asked again after a restart: the program may have forgotten what it was told. Until it has
// answered, a hub has the answer from before.
func TestAnAcknowledgementThatNoHubHasConfirmedSurvivesARestart(t *testing.T) {
	for _, killed := range []bool{false, true} {
		dir := t.TempDir()
		twinBubbleWith(t, in(dir), func(t *testing.T, w *twinWorld) {
			w.connected()
			w.set(`{"known":1}`)
			synctest.Wait()
			w.strike(emulator.TwinMute, emulator.Params{})
			w.set(`{"fan":3,"c":{"__t":"c","limits":{"low":1}}}`)
			w.wantHandled("known=1", "fan=3", `c*limits={"low":1}`)
			w.offline()
			next := dir
			if killed {
				next = copied(t, dir)
			}
			w.close()
			w.cloud.Clear(deviceID, emulator.TwinMute)
			w.revive()
			var asked journal
			again := w.again(func(s *machine.Settings) {
				s.Storage.StateDir = next
				s.Handlers.Desired = func(
					ctx context.Context, key machine.PropertyName, value json.RawMessage,
				) (machine.PropertyAck, error) {
					asked.add(key.String() + "=" + string(value))
					time.Sleep(20 * time.Second)
					return machine.PropertyAck{Code: 202}, nil
				}
			})
			again.connected()
			want := `{"c":{"__t":"c","limits":{"ac":%[1]d,"av":3,"value":{"low":1}}},` +
				`"fan":{"ac":%[1]d,"av":3,"value":3},"known":{"ac":%[1]d,"av":%[2]d,"value":1}}`
			again.wantReported(fmt.Sprintf(want, 200, 2))
			time.Sleep(20 * time.Second)
			again.wantReported(fmt.Sprintf(want, 202, 3))
			if got := asked.all(); !sameInAnyOrder(got, []string{"known=1", "fan=3", `c*limits={"low":1}`}) {
				t.Errorf("asked again: %q", got)
			}
			again.close()
			w.wantNoViolation()
		})
	}
}

// The other hub's versions have nothing to do with the first one's.
func TestAnAcknowledgementFromBeforeARestartNamesTheVersionOfTheHubThatGetsIt(t *testing.T) {
	dir := t.TempDir()
	twinBubbleWith(t, in(dir), func(t *testing.T, w *twinWorld) {
		w.connected()
		for range 5 {
			w.set(`{"fan":1}`)
		}
		w.strike(emulator.TwinMute, emulator.Params{})
		w.set(`{"fan":3}`)
		synctest.Wait()
		w.offline()
		w.close()
		w.cloud.Clear(deviceID, emulator.TwinMute)
		if err := w.cloud.StartDPS(); err != nil {
			t.Fatal(err)
		}
		w.revive()
		var version int
		w.mu.Lock()
		w.happens = func(e emulator.Event) {
			if e.Kind == emulator.KindLizard && strings.Contains(e.Text, "registered again") {
				version = w.set(`{"fan":3.0}`)
			}
		}
		w.mu.Unlock()
		w.network.SetLatency(50 * time.Millisecond) // so that the desired value is there before the device
		w.strike(emulator.Deleted, emulator.Params{Reregister: true})
		again := w.again(func(s *machine.Settings) {
			s.Storage.StateDir = dir
			s.Handlers.Desired = func(
				ctx context.Context, _ machine.PropertyName, _ json.RawMessage,
			) (machine.PropertyAck, error) {
				<-ctx.Done()
				return machine.PropertyAck{}, ctx.Err()
			}
		})
		again.connected()
		time.Sleep(time.Second)
		again.wantReported(fmt.Sprintf(`{"fan":{"ac":200,"av":%d,"value":3}}`, version))
		again.close()
	})
}

func TestInMemoryNothingThatIsReportedReachesTheDisk(t *testing.T) {
	dir := t.TempDir()
	inMemory := func(s *machine.Settings) { s.Storage.StateDir, s.Storage.InMemory = dir, true }
	twinBubbleWith(t, inMemory, func(t *testing.T, w *twinWorld) {
		w.connected()
		w.offline()
		w.report(`{"battery":80}`)
		next := copied(t, dir)
		w.close()
		if warned := w.warnings("1 reported properties were not sent"); warned == "" {
			t.Error("it does not say what is lost")
		}
		for _, dir := range []string{dir, next} {
			if found, _ := filepath.Glob(filepath.Join(dir, "twin.json*")); len(found) > 0 {
				t.Errorf("on the disk: %q", found)
			}
		}
		w.revive()
		again := w.again(inMemory)
		again.wantSent(0, dir)
	})
}

func TestReportsAreSentAlthoughTheDiskCannotBeWrittenAndStoredOnceItCan(t *testing.T) {
	below := filepath.Join(t.TempDir(), "state") // a file, so that nobody can write below it, not even root
	if err := os.WriteFile(below, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(below, "device")
	twinBubbleWith(t, in(dir), func(t *testing.T, w *twinWorld) {
		w.connected()
		for i := range 20 {
			w.report(fmt.Sprintf(`{"battery":%d}`, i))
			time.Sleep(time.Second)
		}
		w.wantReported(`{"battery":19}`)
		w.offline()
		w.report(`{"battery":80}`)
		w.report(`{"a":1}`)
		text := w.warnings("store the reported properties")
		if strings.Count(text, "make the state directory writable") != 1 {
			t.Errorf("it warns %q", text)
		}
		if err := os.Remove(below); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if w.warnings("reported properties can be stored again") == "" {
			t.Error("it does not say that the disk is well")
		}
		next := copied(t, dir)
		w.close()
		w.revive()
		if err := w.cloud.StartDPS(); err != nil {
			t.Fatal(err)
		}
		again := w.again(in(next))
		again.wantSent(1, next)
		again.wantReported(`{"a":1,"battery":80}`)
	})
}

func TestADamagedTwinFileIsAWarningAndItsPropertiesAreLost(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "twin.json")
	twinBubbleWith(t, in(dir), func(t *testing.T, w *twinWorld) {
		w.connected()
		w.offline()
		w.report(`{"battery":80,"a":1}`)
		w.close()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		w.revive()
		again := w.again(in(dir))
		again.report(`{"b":1}`)
		again.wantSent(1, dir)
		again.wantReported(`{"b":1}`)
		if warned := again.warnings("was renamed to"); !strings.Contains(warned, "twin.json.damaged") {
			t.Errorf("it warns %q", warned)
		}
	})
}

func TestADeviceThatEndsNamesThePendingReportsOfItsFileAndAcceptsNoMore(t *testing.T) {
	dir := t.TempDir()
	twinBubbleWith(t, in(dir), func(t *testing.T, w *twinWorld) {
		w.connected()
		w.offline()
		w.report(`{"battery":80,"a":1}`)
		w.close()
		warned := w.warnings("2 reported properties")
		if !strings.Contains(warned, "are pending in "+dir+" and will be sent at the next start") {
			t.Errorf("it warns %q", warned)
		}
		if err := w.device.Report(t.Context(), map[string]any{"a": 2}); err == nil {
			t.Error("a report was accepted after the end")
		}
	})
}

// Indentation would make 40,000 elements ten levels deep larger than a file may be.
func TestALargeReportIsKeptOverARestart(t *testing.T) {
	var value any = make([]any, 40_000)
	for range 9 {
		value = []any{value}
	}
	dir := t.TempDir()
	bubble(t, in(dir), func(t *testing.T, w *world) {
		if err := w.device.Report(t.Context(), map[string]any{"a": value}); err != nil {
			t.Fatal(err)
		}
		if err := w.device.Close(t.Context()); err != nil {
			t.Error(err)
		}
		next := w.again(in(dir))
		if err := next.device.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for _, w := range []*world{w, next} {
			if said := w.warnings("1 reported properties are pending"); said == "" || w.warnings("store the") != "" {
				t.Errorf("it warns %q", w.warnings(""))
			}
		}
	})
}
