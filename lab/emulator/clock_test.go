package emulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func TestWithoutGraceAConnectionEndsWhenItsTokenExpires(t *testing.T) {
	for name, c := range map[string]struct {
		target string
		delay  time.Duration
	}{
		"at a hub":       {"A", 0},
		"for a device":   {device, 0},
		"a little later": {device, 7 * time.Second},
	} {
		for when, early := range map[string]bool{"before": true, "after": false} {
			t.Run(name+", active "+when+" the login", func(t *testing.T) {
				inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
					w.Assign(device, "A")
					inject := func() { w.mustInject(c.target, emulator.NoGrace, emulator.Params{Delay: c.delay}) }
					if early {
						inject()
					}
					start := time.Now()
					p := w.mustConnect(login{hub: "A", keepAlive: time.Minute, tokenLife: time.Hour})
					if !early {
						inject()
					}
					p.mustLose(2 * time.Hour)
					if took := time.Since(start); took != time.Hour+c.delay {
						t.Errorf("cut after %v", took)
					}
				})
			})
		}
	}
}

func TestNoGraceEndsASessionDuringItsGrace(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", keepAlive: time.Minute, tokenLife: time.Minute})
		time.Sleep(2 * time.Minute)
		w.mustInject("A", emulator.NoGrace, emulator.Params{})
		if w.Connected(device, "A") {
			t.Error("the session goes on")
		}
		p.mustLose(time.Second)
	})
}

func TestClearingNoGraceRestoresTheGrace(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustInject("A", emulator.NoGrace, emulator.Params{})
		start := time.Now()
		p := w.mustConnect(login{hub: "A", keepAlive: time.Minute, tokenLife: time.Hour})
		w.mustClear("A", emulator.NoGrace)
		p.mustLose(2 * time.Hour)
		if took := time.Since(start); took != 70*time.Minute {
			t.Errorf("cut after %v", took)
		}
	})
}

func TestTokensExpireEarlierWhenTheClockIsAhead(t *testing.T) {
	onBothNetworks(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		for target, l := range map[string]login{"DPS": {}, "A": {hub: "A"}} {
			w.mustInject(target, emulator.Skew, emulator.Params{Delay: 2 * time.Hour})
			if code := w.refusal(l); code != 5 {
				t.Errorf("%s: CONNACK %d", target, code)
			}
			w.mustClear(target, emulator.Skew)
			w.mustConnect(l)
		}
	})
}

func TestTokensExpireLaterWhenTheClockIsBehind(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		w.mustInject("A", emulator.Skew, emulator.Params{Delay: -2 * time.Hour})
		start := time.Now()
		p := w.mustConnect(login{hub: "A", keepAlive: time.Minute, tokenLife: -time.Hour})
		p.mustLose(3 * time.Hour)
		if took := time.Since(start); took != 70*time.Minute {
			t.Errorf("cut after %v", took)
		}
	})
}

func TestAClockThatJumpsAheadEndsSessions(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A", tokenLife: time.Hour})
		stays := w.mustConnect(login{hub: "A", device: "dev2", tokenLife: 3 * time.Hour})
		w.mustInject("A", emulator.Skew, emulator.Params{Delay: 2 * time.Hour})
		p.mustLose(time.Second)
		stays.mustPublish("devices/dev2/messages/events/", "x")
	})
}

func TestTheTimestampsOfDPSAreThoseOfItsClock(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustInject("DPS", emulator.Skew, emulator.Params{Delay: 45 * time.Minute})
		state := w.registerDevice(t)
		want := time.Now().Add(45 * time.Minute).UTC().Format("2006-01-02T15:04")
		if got := state["lastUpdatedDateTimeUtc"]; !strings.HasPrefix(fmt.Sprint(got), want) {
			t.Errorf("updated %v, want %s", got, want)
		}
		if got := state["createdDateTimeUtc"]; !strings.HasPrefix(fmt.Sprint(got), "2000-01-01T00:45") {
			t.Errorf("created %v", got)
		}
		_, refusal := w.connectDPS(login{}).poll(1, "unknown")
		if got := refusal["timestampUtc"]; !strings.HasPrefix(fmt.Sprint(got), "2000-01-01T00:45") {
			t.Errorf("an error says it is %v", got)
		}
	})
}

func TestRejectRefusesValidTokens(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		there := w.mustConnect(login{hub: "A"})
		w.mustInject(device, emulator.Reject, emulator.Params{For: 90 * time.Second})
		w.mustConnect(login{hub: "A", device: "dev2"})
		there.mustPublish(events, "undisturbed")
		for range 2 {
			if code := w.refusal(login{hub: "A"}); code != 5 {
				t.Errorf("CONNACK %d", code)
			}
		}
		time.Sleep(2 * time.Minute)
		w.mustConnect(login{hub: "A"})
		w.wantNoViolation()
	})
}
