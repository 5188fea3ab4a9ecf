package drill_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/drill"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
)

func TestFleetSpreadsItsAttemptsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memnet.New()
		r, err := drill.Fleet{
			Devices: 30, Interval: time.Second, Spread: 2 * time.Second, Dial: net.DialContext,
			Cloud: emulator.Config{Listen: net.Listen, RetryAfter: time.Second},
		}.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if r.Recovered != 30 || r.Missing != 0 || r.Died != 0 || r.Violations != 0 || r.Readings < 300 {
			t.Errorf("%+v", *r)
		}
		if r.DPSPerMinute != 30 || r.Attempts < 30 || r.Attempts > 5*30 {
			t.Errorf("30 devices: %d registrations in a minute, %d attempts to connect", r.DPSPerMinute, r.Attempts)
		}
		half, ninety, last := r.Recovery["p50"], r.Recovery["p90"], r.Recovery["max"]
		if r.Start <= 0 || half <= 0 || half >= ninety || ninety > last || last > 2+12+3 {
			t.Errorf("with a spread of 2 s, 50 %% have recovered within %g s, 90 %% within %g s, all within %g s",
				half, ninety, last)
		}
		if r.PeakAttempts > 25 { // 30 over two seconds at the dead hub are not counted
			t.Errorf("%d attempts within a second", r.PeakAttempts)
		}
	})
}

func TestCanceledFleetStartsNoMoreDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memnet.New()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := drill.Fleet{
			Devices: 3, Interval: time.Second, Dial: net.DialContext, Cloud: emulator.Config{Listen: net.Listen},
			Progress: func(text string) { t.Errorf("it goes on: %s", text) },
		}.Run(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
