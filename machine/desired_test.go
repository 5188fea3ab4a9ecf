package machine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

func TestEveryPropertyOfAPatchIsAcknowledgedWithItsWholeValue(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		w.set(`{"fan":3,"limits":{"low":1,"high":{"a":1,"b":2}},"c":{"__t":"c","target":20,"mode":{"eco":true}}}`)
		w.wantHandled(`fan=3`, `limits={"high":{"a":1,"b":2},"low":1}`, `c*target=20`, `c*mode={"eco":true}`)
		for _, step := range []struct{ desired, handled string }{
			{`{"limits":{"high":{"b":3}}}`, `limits={"high":{"a":1,"b":3},"low":1}`},
			{`{"limits":{"low":null,"high":{"a":null}}}`, `limits={"high":{"b":3}}`},
			{`{"limits":{"low":0}}`, `limits={"high":{"b":3},"low":0}`},
			{`{"c":{"__t":"c","mode":{"fast":false}}}`, `c*mode={"eco":true,"fast":false}`},
			{`{"c":{"target":21}}`, `c*target=21`}, // a back end that forgets the mark
			{`{"limits":7}`, `limits=7`},
			{`{"limits":{"low":1}}`, `limits={"low":1}`},
			{`{"fan":null}`, `fan=null`},
			{`{"new":{"n":null,"m":[null]}}`, `new={"m":[null]}`},
		} {
			before := len(w.handled.all())
			w.set(step.desired)
			synctest.Wait()
			if got := w.handled.all()[before:]; !slices.Equal(got, []string{step.handled}) {
				t.Errorf("%s: handled %v, want %s", step.desired, got, step.handled)
			}
		}
		w.wantReported(`{"c":{"__t":"c","mode":{"ac":200,"av":6,"value":{"eco":true,"fast":false}},` +
			`"target":{"ac":200,"av":7,"value":21}},` +
			`"fan":{"ac":200,"av":10},"limits":{"ac":200,"av":9,"value":{"low":1}},"new":{"ac":200,"av":11,` +
			`"value":{"m":[null]}}}`)
		before := len(w.handled.all())
		w.set(`{"c":null}`)
		synctest.Wait()
		if got := w.handled.all()[before:]; !sameInAnyOrder(got, []string{"c*target=null", "c*mode=null"}) {
			t.Errorf("a component was removed: handled %v", got)
		}
		handled := w.handled.all()
		w.moved(func() {})
		w.wantHandled(handled...) // nothing more
		w.wantNoViolation()
	})
}

func TestAComponentsPropertyAndOneWithAStarInItsNameAreTwoProperties(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		w.set(`{"c":{"__t":"c","x":1},"c*x":2}`)
		w.wantHandled(`c*x=1`, `c*x=2`)
		w.wantReported(`{"c":{"__t":"c","x":{"ac":200,"av":2,"value":1}},"c*x":{"ac":200,"av":2,"value":2}}`)
		w.moved(func() {})
		w.wantHandled(`c*x=1`, `c*x=2`) // neither again
		w.set(`{"c*x":null}`)
		w.wantHandled(`c*x=1`, `c*x=2`, `c*x=null`)
		w.set(`{"c":null}`)
		w.wantHandled(`c*x=1`, `c*x=2`, `c*x=null`, `c*x=null`)
		w.wantNoViolation()
	})
}

// To a handler they are two as well.
func TestAHandlerCanDistinguishAComponentsPropertyFromOneWithAStarInItsName(t *testing.T) {
	handled := &journal{}
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Desired = func(
			_ context.Context, p machine.PropertyName, value json.RawMessage,
		) (machine.PropertyAck, error) {
			handled.add(fmt.Sprintf("%q %q %s", p.Component, p.Name, value))
			return machine.PropertyAck{}, nil
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		patch := map[string]any{"c": map[string]any{"__t": "c", "x": 1, "d*e": 3}, "c*x": 2}
		if err := w.cloud.SetDesired(deviceID, patch); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []string{`"c" "x" 1`, `"" "c*x" 2`, `"c" "d*e" 3`}; !sameInAnyOrder(handled.all(), want) {
			t.Errorf("handled %q, want %q", handled.all(), want)
		}
	})
}

func TestTheDescriptionOfAnEarlierAcknowledgementIsRemoved(t *testing.T) {
	fail := true
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Desired = func(context.Context, machine.PropertyName, json.RawMessage) (machine.PropertyAck, error) {
			if fail {
				return machine.PropertyAck{}, errors.New("stuck")
			}
			return machine.PropertyAck{}, nil
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		w.cloud.SetDesired(deviceID, map[string]any{"fan": 1})
		synctest.Wait()
		fail = false
		w.cloud.SetDesired(deviceID, map[string]any{"fan": 2})
		synctest.Wait()
		if _, reported, _, _ := w.cloud.Twin(deviceID); fmt.Sprint(reported) != "map[fan:map[ac:200 av:3 value:2]]" {
			t.Errorf("reported %v", reported)
		}
	})
}

func TestTheHandlersAcknowledgementIsReported(t *testing.T) {
	answers := map[string]machine.PropertyAck{
		"own":    {Value: 5, Code: 203},
		"going":  {Code: 202, Description: "on the way"},
		"actual": {Value: map[string]any{"low": 1}, Code: 400},
		"wild":   {Code: 1 << 30},
		"minus":  {Code: -1},
	}
	bubble(t, func(s *machine.Settings) {
		s.Handlers.Desired = func(
			_ context.Context, key machine.PropertyName, _ json.RawMessage,
		) (machine.PropertyAck, error) {
			return answers[key.Name], nil
		}
	}, func(t *testing.T, w *world) {
		w.connected()
		for name := range answers {
			w.cloud.SetDesired(deviceID, map[string]any{name: 9})
			synctest.Wait()
		}
		w.cloud.SetDesired(deviceID, map[string]any{"own": nil, "going": 9, "actual": 9, "wild": 9, "minus": 9})
		synctest.Wait()
		_, reported, _, _ := w.cloud.Twin(deviceID)
		got, _ := json.Marshal(reported)
		want := `{"actual":{"ac":400,"av":7,"value":{"low":1}},"going":{"ac":202,"ad":"on the way","av":7,"value":9},` +
			`"minus":{"ac":500,"ad":"the handler answered with -1, which is no status","av":7,"value":9},` +
			`"own":{"ac":203,"av":0,"value":5},` +
			`"wild":{"ac":500,"ad":"the handler answered with 1073741824, which is no status","av":7,"value":9}}`
		if string(got) != want {
			t.Errorf("reported\n%s, want\n%s", got, want)
		}
	})
}

// An operator deleted the device, DPS made it anew: its twin begins again, with lower versions, other
// spellings and without the answers.
func TestATwinThatBeginsAgainIsReconciledByValue(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		for range 5 {
			w.set(`{"fan":3,"limits":{"low":1,"high":2},"broken":1,"gone":1,"changed":1}`)
		}
		synctest.Wait()
		before := w.handled.all()
		w.mu.Lock()
		w.happens = func(e emulator.Event) {
			if e.Kind == emulator.KindLizard && strings.Contains(e.Text, "registered again") {
				w.set(`{"limits":{"high":2.0,"low":10e-1},"broken":1,"changed":2,"fan":3.0}`)
			}
		}
		w.mu.Unlock()
		w.network.SetLatency(50 * time.Millisecond) // so that the desired value is there before the device
		from := w.count()
		w.strike(emulator.Deleted, emulator.Params{Reregister: true})
		w.awaitState(machine.Connected, from)
		time.Sleep(time.Second)
		w.wantHandled(append(before, "changed=2", "gone=null")...)
		w.wantReported(`{"broken":{"ac":500,"ad":"no such fan","av":2,"value":1},"changed":{"ac":200,"av":2,` +
			`"value":2},` +
			`"fan":{"ac":200,"av":2,"value":3},"gone":{"ac":200,"av":2},"limits":{"ac":200,"av":2,` +
			`"value":{"high":2,"low":1}}}`)
		w.wantNoViolation()
	})
}

// The error is told once. A reconnect is no reason to try again, a new value is, and so is the old one set anew.
func TestAPropertyWhoseHandlerFailedIsNotTriedAgainUntilItChanges(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		w.set(`{"broken":1}`)
		w.wantReported(`{"broken":{"ac":500,"ad":"no such fan","av":2,"value":1}}`)
		if sent := w.patches(func() { w.moved(func() {}) }); sent != 0 {
			t.Errorf("%d patches for what has been answered", sent)
		}
		time.Sleep(time.Hour) // a renewal
		w.wantHandled("broken=1")
		w.set(`{"broken":1}`)
		w.set(`{"broken":2}`)
		w.wantHandled("broken=1", "broken=1", "broken=2")
		w.wantReported(`{"broken":{"ac":500,"ad":"no such fan","av":4,"value":2}}`)
	})
}

// The device was asked at hub A, and answers at hub B, whose version the answer must name: whether the answer had not
// been confirmed or the handler was still running.
func TestAnAcknowledgementThatAnOutageDelayedNamesTheVersionOfTheHubThatGetsIt(t *testing.T) {
	for _, key := range []string{"quick", "slow"} {
		t.Run(key, func(t *testing.T) {
			twinBubble(t, func(t *testing.T, w *twinWorld) {
				w.connected()
				w.strike(emulator.TwinMute, emulator.Params{})
				w.set(`{"` + key + `":1}`)
				synctest.Wait()
				var version int
				w.moved(func() {
					w.cloud.Clear(deviceID, emulator.TwinMute)
					version = w.set(`{"other":1}`)
				})
				time.Sleep(slowly)
				w.wantReported(fmt.Sprintf(`{"other":{"ac":200,"av":%[1]d,"value":1},%[2]q:{"ac":200,"av":%[1]d,`+
					`"value":1}}`,
					version, key))
				w.wantHandled(key+"=1", "other=1")
			})
		})
	}
}

func TestDesiredValuesOfAnOutageAreAcknowledgedOnceAfterIt(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		w.set(`{"kept":1,"withdrawn":1}`)
		synctest.Wait()
		sent := w.patches(func() {
			w.moved(func() {
				w.set(`{"fan":1,"withdrawn":null}`)
				w.set(`{"fan":2,"new":true}`)
				w.report(`{"battery":80}`)
			})
		})
		w.wantReported(`{"battery":80,"fan":{"ac":200,"av":4,"value":2},"kept":{"ac":200,"av":2,"value":1},` +
			`"new":{"ac":200,"av":4,"value":true},"withdrawn":{"ac":200,"av":4}}`)
		w.wantHandled("kept=1", "withdrawn=1", "fan=2", "new=true", "withdrawn=null")
		if sent > 4 { // the report and three answers, of which some may go together
			t.Errorf("%d patches", sent)
		}
	})
}

func TestAcknowledgementsThatExceedALimitAreShortenedAndBlockNothing(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 9) + "{}" + strings.Repeat("}", 9)
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		w.set(`{"huge":1,"deep":` + deep + `,"fan":3}`)
		w.report(`{"battery":80}`)
		synctest.Wait()
		_, reported, _, _ := w.cloud.Twin(deviceID)
		huge, _ := reported["huge"].(map[string]any)
		if text, _ := huge["ad"].(string); huge["ac"] != 500.0 || huge["value"] != 1.0 || len(text) > 4096 ||
			!strings.HasPrefix(text, "no such fan no such") {
			t.Errorf("an error of 120 KB is answered %.200s", fmt.Sprint(huge))
		}
		tooDeep, _ := reported["deep"].(map[string]any)
		if text, _ := tooDeep["ad"].(string); tooDeep["ac"] != 200.0 || tooDeep["value"] != nil ||
			!strings.Contains(text, "deeper than 10 levels") {
			t.Errorf("a value of ten levels is answered %v", tooDeep)
		}
		if fmt.Sprint(reported["fan"], reported["battery"]) != "map[ac:200 av:2 value:3] 80" {
			t.Errorf("the others: %v %v", reported["fan"], reported["battery"])
		}
		w.wantNoViolation()
	})
}

// Eight values of 4 KB fill the desired section, so the answers with all of them would not fit into the reported one.
func TestAcknowledgementsThatDoNotFitIntoOnePatchAreAllSent(t *testing.T) {
	twinBubble(t, func(t *testing.T, w *twinWorld) {
		w.connected()
		w.moved(func() {
			for i := range 8 {
				w.set(fmt.Sprintf(`{"p%d":%q}`, i, strings.Repeat("v", 4080)))
			}
			w.report(`{"battery":80}`)
		})
		_, reported, _, _ := w.cloud.Twin(deviceID)
		whole := 0
		for i := range 8 {
			ack, _ := reported[fmt.Sprint("p", i)].(map[string]any)
			if value, _ := ack["value"].(string); value != "" {
				whole++
			} else if text, _ := ack["ad"].(string); !strings.Contains(text, "the value is left out") {
				t.Errorf("p%d is answered %v", i, ack)
			}
			if ack["ac"] != 200.0 || ack["av"] != 9.0 {
				t.Errorf("p%d is answered with %v, version %v", i, ack["ac"], ack["av"])
			}
		}
		if whole < 7 || reported["battery"] != 80.0 {
			t.Errorf("%d values, and battery %v", whole, reported["battery"])
		}
	})
}
