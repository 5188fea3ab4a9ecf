package emulator_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
)

// withDataFile starts a cloud in memory with a data file.
func withDataFile(t *testing.T, file string) world {
	t.Helper()
	network := memnet.New()
	return world{emulator.ForTest(t, emulator.Config{Listen: network.Listen, DataFile: file}), t, network}
}

func TestDevicesTwinsAndQueuesSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cloud.json")
		first := withDataFile(t, file)
		p := first.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/twin/res/#")
		p.mustPublish("$iothub/twin/PATCH/properties/reported/?$rid=1",
			`{"battery":12345678901234567890,"a":{"b":null,"c":"<&>"}}`)
		if err := first.SetDesired(device, map[string]any{"fanSpeed": 3}); err != nil {
			t.Fatal(err)
		}
		p.Disconnect(0)
		synctest.Wait()
		for i := range 3 {
			if err := first.SendMessage(device,
				emulator.Message{ID: fmt.Sprint("m", i), Body: []byte{0, 255}, TTL: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		if err := first.Enroll("dev2", "b3du"); err != nil {
			t.Fatal(err)
		}
		if _, err := first.ManualFailover(device, time.Hour); err != nil {
			t.Fatal(err)
		}
		desired, reported, desiredVersion, reportedVersion := first.Twin(device)
		first.Close()
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}

		time.Sleep(30 * time.Minute)
		second := withDataFile(t, file)
		if d, r, dv, rv := second.Twin(device); !reflect.DeepEqual(d, desired) || !reflect.DeepEqual(r, reported) ||
			dv != desiredVersion || rv != reportedVersion {
			t.Errorf("the twin is %v %d, %v %d; want %v %d, %v %d", d, dv, r, rv, desired, desiredVersion, reported,
				reportedVersion)
		}
		if hub := second.HubOf(device); hub != "B" {
			t.Errorf("it belongs to hub %s", hub)
		}
		p, err := second.connect(login{hub: "B"})
		if err != nil {
			t.Fatal(err)
		}
		p.mustSubscribe(bound + "#")
		var want []string
		for i := range 3 {
			want = append(want,
				bound+fmt.Sprintf("%%24.mid=m%d&%%24.to=%%2Fdevices%%2Fdev1%%2Fmessages%%2FdeviceBound \x00\xff", i))
		}
		p.wantMessages(want...)
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		if hub := second.HubOf(device); hub != "A" {
			t.Errorf("its manual failover is over, and it belongs to hub %s", hub)
		}
		second.Close()
	})
}

// So a killed cloud loses only the changes of the last 0.1 s.
func TestChangesAreWrittenAfterAShortDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cloud.json")
		w := withDataFile(t, file)
		for i := range 5 {
			if err := w.Enroll(fmt.Sprint("dev", i), ""); err != nil {
				t.Fatal(err)
			}
			if err := w.SetDesired(fmt.Sprint("dev", i), map[string]any{"x": i}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(150 * time.Millisecond)
			synctest.Wait()
			text, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(text), fmt.Sprintf(`"dev%d"`, i)) {
				t.Errorf("after device %d the file says %s, %v", i, text, err)
			}
		}
		w.Close()
	})
}

func TestAnUnreadableDataFileIsAnErrorAndIsNotChanged(t *testing.T) {
	for name, text := range map[string]string{
		"damaged":        `{"version":1,"devices":[{"id":"dev1"`,
		"no JSON":        "hello",
		"empty":          "",
		"a later format": `{"version":2,"devices":{}}`,
		"an unknown hub": `{"version":1,"devices":[{"id":"dev1","hub":"Z","desired":{"properties":{}},` +
			`"reported":{"properties":{}}}]}`,
		"a twin of a list": `{"version":1,"devices":[{"id":"dev1","desired":{"properties":[]},` +
			`"reported":{"properties":{}}}]}`,
		"a nameless device": `{"version":1,"devices":[{"desired":{"properties":{}},"reported":{"properties":{}}}]}`,
	} {
		file := filepath.Join(t.TempDir(), "cloud.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cloud, err := emulator.Start(emulator.Config{DataFile: file})
		if err == nil {
			cloud.Close()
			t.Errorf("%s: it started", name)
		} else if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("%s: %v", name, err)
		}
		if now, _ := os.ReadFile(file); string(now) != text {
			t.Errorf("%s: the file says %s", name, now)
		}
	}
}

func TestAWriteErrorOfTheDataFileIsNotedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var notes []string
		network := memnet.New()
		w := emulator.ForTest(t, emulator.Config{
			Listen: network.Listen, DataFile: filepath.Join(t.TempDir(), "no", "cloud.json"),
			Observe: func(e emulator.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Kind == emulator.KindNote {
					notes = append(notes, e.Text)
				}
			},
		})
		for i := range 5 {
			if err := w.Enroll(fmt.Sprint("dev", i), ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		w.Close()
		if len(notes) != 1 || !strings.Contains(notes[0], "the data cannot be written") {
			t.Errorf("the notes are %q", notes)
		}
	})
}
