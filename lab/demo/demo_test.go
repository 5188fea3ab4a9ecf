package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/demo"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inMemory returns options for a demo without sockets, for a bubble.
func inMemory(o demo.Options) demo.Options {
	network := memnet.New()
	o.Cloud.Listen, o.Dial = network.Listen, network.DialContext
	return o
}

// wantRecoveries wants these outcomes, repeated.
func wantRecoveries(t *testing.T, b demo.Balance, outcomes ...string) {
	t.Helper()
	for i, r := range b.Recoveries {
		if want := outcomes[i%len(outcomes)]; r.Outcome != want {
			t.Errorf("recovery %d: %s, want %s", i+1, r.Outcome, want)
		}
	}
}

func TestDemoFailsOverAndBackAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		begin := time.Now()
		b, err := demo.Run(t.Context(), inMemory(demo.Options{Out: &out}))
		if err != nil || !b.Complete() {
			t.Fatalf("%+v, %v", b, err)
		}
		wantRecoveries(t, b, "failed over", "failed back")
		// Three scenes of 6 s and three registrations of 3 s, with two readings in each second.
		if took := time.Since(begin).Round(time.Second); took != 27*time.Second || b.Accepted < 54 || b.Accepted > 55 ||
			len(b.Recoveries) != 2 {
			t.Errorf("%s, %d readings, %d recoveries", took, b.Accepted, len(b.Recoveries))
		}
		if strings.Contains(out.String(), "127.0.0.1") {
			t.Errorf("an address would have to be looked up:\n%s", &out)
		}
		for _, event := range []string{"failed over from hub A to hub B", "setAlarm answered 200"} {
			story := regexp.MustCompile(`(?s)-> Connected on connected at hub A.*\*\*\* A giant lizard.*` +
				`lost at hub A.*` + event + `.*\*\*\* The lizard has gone.*failed back from hub B to hub A.*-> Closing`)
			if !story.Match(out.Bytes()) {
				t.Errorf("unexpected output:\n%s", &out)
			}
		}
	})
}

func TestDemoOverSocketsIsTheSame(t *testing.T) {
	slow.Test(t)
	b, err := demo.Run(t.Context(), demo.Options{Out: io.Discard, Scene: 300 * time.Millisecond,
		Cloud: emulator.Config{RetryAfter: time.Second}})
	if err != nil || !b.Complete() || b.Accepted == 0 || len(b.Recoveries) != 2 {
		t.Fatalf("%+v, %v", b, err)
	}
	wantRecoveries(t, b, "failed over", "failed back")
}

func TestWatchRepeatsTheDemoUntilItIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// In the middle of a scene, so that the device is connected and delivers everything.
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute+6*time.Second)
		defer cancel()
		b, err := demo.Run(ctx, inMemory(demo.Options{Out: io.Discard, Watch: true}))
		if err != nil || !b.Complete() {
			t.Fatalf("%d accepted, %d delivered: %v", b.Accepted, b.Delivered, err)
		}
		wantRecoveries(t, b, "failed over", "failed back")
		if len(b.Recoveries) < 120 || b.Accepted < 3_500 {
			t.Errorf("in half an hour: %d recoveries and %d readings", len(b.Recoveries), b.Accepted)
		}
	})
}

func TestDemoMayBeEndedAtAnyTime(t *testing.T) {
	for at := range 28 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(at)*time.Second+100*time.Millisecond)
			defer cancel()
			b, err := demo.Run(ctx, inMemory(demo.Options{Out: io.Discard}))
			var lost *machine.LostError
			switch {
			case errors.As(err, &lost): // there was no hub just then
				if b.Complete() || b.Missing != lost.Left || b.Accepted != b.Delivered+b.Missing {
					t.Errorf("after %d s: %+v, %v", at, b, err)
				}
			case err != nil || !b.Complete():
				t.Errorf("after %d s: %+v, %v", at, b, err)
			}
		})
	}
}

func TestJSONOutputIsRecordsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if _, err := demo.Run(t.Context(), inMemory(demo.Options{Out: &out, JSON: true})); err != nil {
			t.Fatal(err)
		}
		kinds := map[string]int{}
		for line := range strings.Lines(out.String()) {
			var r machine.Record
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.Time.IsZero() || r.Message == "" {
				t.Errorf("%q: %v", line, err)
			}
			if strings.Contains(line, "127.0.0.1") || r.Kind == "outcome" && (r.Hub == "" || r.FromHub == "") {
				t.Errorf("%s names no hub", line)
			}
			kinds[string(r.Kind)]++
		}
		if kinds["outcome"] != 2 || kinds["note"] != 2 || kinds["transition"] < 10 {
			t.Errorf("%v", kinds)
		}
	})
}

// stalled is a writer that blocks until it is released.
type stalled chan struct{}

func (s stalled) Write(p []byte) (int, error) {
	<-s
	return len(p), nil
}

func TestDemoDoesNotWaitForTheReaderOfItsOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := make(stalled)
		defer close(out)
		b, err := demo.Run(t.Context(), inMemory(demo.Options{Out: out}))
		if err != nil || !b.Complete() || len(b.Recoveries) != 2 {
			t.Errorf("%+v, %v", b, err)
		}
	})
}

func TestDeviceThatNeverConnectsIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inMemory(demo.Options{Out: io.Discard})
		o.Dial = memnet.New().DialContext // where nobody listens
		b, err := demo.Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "has not recovered within 1m0s") || b.Complete() {
			t.Errorf("%+v, %v", b, err)
		}
	})
}

func TestCloudThatCannotStartIsAnError(t *testing.T) {
	_, err := demo.Run(t.Context(), demo.Options{Out: io.Discard, Cloud: emulator.Config{Host: "192.0.2.1"}})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Error(err)
	}
}
