package machine_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

// The twin would merge {"x":1} into the {"y":2} that it holds, if the null were not sent first.
func TestAnObjectReportedInPlaceOfSomethingElseReplacesIt(t *testing.T) {
	for name, c := range map[string]struct {
		reports []string
		patches int
		want    string
	}{
		"a null":  {[]string{`{"a":null}`, `{"a":{"x":1}}`}, 2, `{"a":{"x":1},"b":{"c":{"y":2},"d":1}}`},
		"a value": {[]string{`{"a":1}`, `{"a":{"x":1}}`}, 2, `{"a":{"x":1},"b":{"c":{"y":2},"d":1}}`},
		"a null in an object": {
			[]string{`{"b":{"c":null}}`, `{"b":{"c":{"x":1}}}`}, 2, `{"a":{"y":2},"b":{"c":{"x":1},"d":1}}`,
		},
		"an object is merged": {
			[]string{`{"a":{"x":1}}`, `{"a":{"x":2}}`}, 1, `{"a":{"x":2,"y":2},"b":{"c":{"y":2},"d":1}}`,
		},
		"and removed again": {[]string{`{"a":null}`, `{"a":{"x":1}}`, `{"a":null}`}, 1, `{"b":{"c":{"y":2},"d":1}}`},
		"among other patches": {
			[]string{`{"a":null,"n":1}`, `{"n":2}`, `{"a":{"x":1}}`, `{"n":3}`}, 2,
			`{"a":{"x":1},"b":{"c":{"y":2},"d":1},"n":3}`,
		},
		"a null in the newest": {
			[]string{`{"a":null}`, `{"a":{"x":1,"y":3}}`, `{"a":{"y":null}}`}, 2,
			`{"a":{"x":1},"b":{"c":{"y":2},"d":1}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			twinBubble(t, func(t *testing.T, w *twinWorld) {
				w.connected()
				w.report(`{"a":{"y":2},"b":{"c":{"y":2},"d":1}}`)
				synctest.Wait()
				sent := w.patches(func() {
					w.moved(func() {
						for _, patch := range c.reports {
							w.report(patch)
						}
					})
				})
				w.wantReported(c.want)
				if sent != c.patches {
					t.Errorf("in %d patches, want %d", sent, c.patches)
				}
				w.wantNoViolation()
			})
		})
	}
}

func TestAReportInFlightAtADisconnectIsSentToTheOtherHub(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		w.strike(emulator.TwinMute, emulator.Params{})
		w.report(`{"battery":80,"a":1}`)
		synctest.Wait() // it is in flight
		w.moved(func() {
			w.report(`{"a":2}`)
			w.cloud.Clear(deviceID, emulator.TwinMute)
		})
		w.wantReported(`{"a":2,"battery":80}`)
	})
}

// Some programs report a bare value, or remove it, in the place of the acknowledgement of the desired value.
func TestAReportInPlaceOfAnAcknowledgementSurvivesAReconnect(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		w.set(`{"fan":3,"pump":1,"c":{"__t":"c","target":20,"mode":1}}`)
		synctest.Wait()
		w.report(`{"fan":5,"pump":null,"c":{"__t":"c","target":21}}`)
		want := `{"c":{"__t":"c","mode":{"ac":200,"av":2,"value":1},"target":21},"fan":5}`
		w.wantReported(want)
		w.moved(func() {})
		w.wantReported(want)
	})
}

// The hub judges the whole section, which only it knows. What has no room costs the others nothing.
func TestAPropertyThatAHubRefusesDoesNotStopTheOthers(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		filled := map[string]any{}
		for i := range 8 {
			filled[fmt.Sprint("log", i)] = strings.Repeat("x", 3900)
		}
		if err := w.device.Report(t.Context(), filled); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.moved(func() {
			w.set(fmt.Sprintf(`{"note":%q,"c":{"__t":"c","note":%[1]q,"target":20}}`, strings.Repeat("v", 3000)))
			w.report(fmt.Sprintf(`{"battery":80,"c":{"__t":"c","temperature":21,"log":%q},"signal":-70}`,
				strings.Repeat("x", 3000)))
		})
		_, reported, _, _ := w.cloud.Twin(deviceID)
		c, _ := reported["c"].(map[string]any)
		ack, _ := c["note"].(map[string]any)
		note, _ := reported["note"].(map[string]any)
		if got := fmt.Sprintln(reported["battery"], reported["signal"], c["temperature"], c["target"], c["__t"],
			c["log"],
			note["ac"], ack["ac"]); got !=
			"80 -70 21 map[ac:200 av:2 value:20] c <nil> 200 200\n" {
			t.Errorf("reported %s", got)
		}
		w.await("a warning that names it", 0, func(r machine.Record) bool {
			return r.Kind == observe.Warning && strings.Contains(r.Error, `"c.log"`) && strings.Contains(r.Error, "413")
		})
	})
}

func TestADeviceThatEndsNamesTheReportsThatWereNotSent(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		from := w.count()
		w.cloud.StopDPS()
		w.cloud.KillHub("A", emulator.FIN)
		w.awaitState(machine.Failover, from)
		w.report(`{"battery":80,"a":1}`)
		if err := w.close(); err != nil {
			t.Error(err)
		}
		w.await("a warning", 0, func(r machine.Record) bool {
			return r.Kind == observe.Warning && strings.Contains(r.Error, "2 reported properties were not sent")
		})
	})
}
