package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// The emulator implements World.
var _ scenario.World = (*emulator.Cloud)(nil)

// A recorder is a world that records its calls.
type recorder struct {
	refuses string // what fails, by the beginning of its line
	answers func(ctx context.Context, name string) error

	mu     sync.Mutex
	begin  time.Time
	did    []string
	faults map[string]bool
}

func (r *recorder) do(format string, values ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := fmt.Sprintf(format, values...)
	if r.did == nil {
		r.begin, r.faults = time.Now(), map[string]bool{}
	}
	if r.refuses != "" && strings.HasPrefix(line, r.refuses) {
		return errors.New("the world refuses")
	}
	r.did = append(r.did, line)
	verb, fault, _ := strings.Cut(line, " ")
	switch verb {
	case "strike":
		r.faults[fault] = true
	case "heal":
		maps.DeleteFunc(r.faults, func(f string, _ bool) bool { return strings.HasPrefix(f, strings.TrimSpace(fault)) })
	}
	return nil
}

func (r *recorder) Inject(target string, fault emulator.Fault, p emulator.Params) error {
	return r.do("strike %s %s%s", target, fault, p)
}

func (r *recorder) Clear(target string, fault emulator.Fault) error {
	return r.do("heal %s %s", target, fault)
}

func (r *recorder) MoveDevice(deviceID, hub string) error { return r.do("move %s %s", deviceID, hub) }

func (r *recorder) SetDesired(deviceID string, patch map[string]any) error {
	return r.do("desired %s %v", deviceID, patch)
}

func (r *recorder) InvokeMethod(ctx context.Context, deviceID, name string, payload []byte) (int, []byte, error) {
	_ = r.do("method %s %s %s", deviceID, name, payload)
	return 200, []byte(`"yes"`), r.answer(ctx, name)
}

func (r *recorder) InvokeCommand(ctx context.Context, deviceID, name string, parameter []byte) error {
	_ = r.do("command %s %s %s", deviceID, name, parameter)
	return r.answer(ctx, name)
}

func (r *recorder) answer(ctx context.Context, name string) error {
	if r.answers == nil {
		return nil
	}
	return r.answers(ctx, name)
}

// activeFaults returns the faults that were not cleared.
func (r *recorder) activeFaults() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.faults))
}

func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func mustParse(t *testing.T, text string) scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("test", text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tell runs a scenario in a world and returns the events, one a line, and the error.
func tell(t *testing.T, ctx context.Context, w scenario.World, text string) (told string, err error) {
	t.Helper()
	err = mustParse(t, text).Run(ctx, w, deviceID, func(h scenario.Event) { told += h.String() + "\n" })
	return told, err
}

func wantLines(t *testing.T, what, got, want string) {
	t.Helper()
	if want = strings.ReplaceAll(strings.TrimPrefix(want, "\n"), "\t", ""); got != want {
		t.Errorf("%s:\n%swant\n%s", what, got, want)
	}
}

func TestRunDoesEachStepAtItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &recorder{}
		told, err := tell(t, t.Context(), w, `
			at 20s desired {"fan": 3, "big": 9007199254740993}
			at 10s kill A for 30s
			at 10s move B; at 25s strike device twin-error status=503 count=2
			at 26s strike DPS throttles retry-after=5s; at 30s heal DPS
			at 45s method echo "hello"; at 50s command alarm
			end 1m`)
		if err != nil {
			t.Error(err)
		}
		wantLines(t, "told", told, `
			10s kill A fin for 30s
			10s move B
			20s desired {"fan":3,"big":9007199254740993}
			25s strike device twin-error status=503 count=2
			26s strike DPS throttles retry-after=5s
			30s heal DPS
			40s heal A fin
			45s method echo "hello"
			45s method echo "hello": 200 "yes" in 0s
			50s command alarm
			50s command alarm: completed in 0s
			1m heal device twin-error
		`)
		wantLines(t, "done", strings.Join(w.did, "\n")+"\n", `
			strike A fin
			move dev1 B
			desired dev1 map[big:9007199254740993 fan:3]
			strike device/dev1 twin-error count=2 status=503
			strike DPS throttles retry-after=5s
			heal DPS `+`
			heal A fin
			method dev1 echo "hello"
			command dev1 alarm `+`
			heal device/dev1 twin-error
		`)
		if took := time.Since(w.begin); took != 50*time.Second { // since the first step
			t.Errorf("it took %s", took)
		}
	})
}

func TestRunByTheWallClockIsTheSame(t *testing.T) {
	w, begin := &recorder{}, time.Now()
	told := 0
	err := mustParse(t, "at 50ms kill A for 100ms; at 100ms move B; end 200ms").Run(t.Context(), w, deviceID,
		func(h scenario.Event) {
			if told++; h.Since < h.At || time.Since(begin) < h.Since {
				t.Errorf("%s was due at %s", h, h.At)
			}
		})
	if took := time.Since(begin); err != nil || took < 200*time.Millisecond || told != 3 {
		t.Errorf("%d happenings in %s: %v", told, took, err)
	}
	wantLines(t, "done", strings.Join(w.did, "\n")+"\n", "strike A fin\nmove dev1 B\nheal A fin\n")
}

func TestRunDoesNotWaitForAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &recorder{answers: func(ctx context.Context, name string) error {
			select {
			case <-time.After(map[string]time.Duration{"slow": 15 * time.Second, "late": 25 * time.Second,
				"never": time.Hour}[name]):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		told, err := tell(t, t.Context(), w, `
			at 10s method never; at 10s command never
			at 11s method slow; at 12s command late
			at 20s move B
			end 1m`)
		if err != nil {
			t.Error(err)
		}
		wantLines(t, "told", told, `
			10s method never
			10s command never
			11s method slow
			12s command late
			20s move B
			26s method slow: 200 "yes" in 15s
			37s command late: completed in 25s
			1m method never: no answer: scenario: there was no answer before the end
			1m command never: no answer: scenario: there was no answer before the end
		`)
	})
}

func TestMissingDeviceHasNoAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &recorder{answers: func(context.Context, string) error { return emulator.ErrNotOnline }}
		told, err := tell(t, t.Context(), w, "at 10s method echo; end 1m")
		if err != nil {
			t.Error(err)
		}
		wantLines(t, "told", told, "10s method echo\n10s method echo: no answer: "+emulator.ErrNotOnline.Error()+"\n")
	})
}

func TestActiveFaultsAreClearedWhenARunEndsEarly(t *testing.T) {
	all := append(scenario.Library(), mustParse(t,
		"at 10s kill A for 1m; at 20s strike DPS mute; at 40s method never; end 5m"))
	for _, s := range all {
		for after := 5 * time.Second; after < s.End; after += 7 * time.Second {
			inBubble(t, func(t *testing.T) {
				w := &recorder{answers: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }}
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				begin := time.Now()
				err := s.Run(ctx, w, deviceID, nil)
				if !errors.Is(err, context.DeadlineExceeded) ||
					!strings.HasPrefix(err.Error(), "scenario: "+s.Name+": ") {
					t.Errorf("%s after %s: %v", s.Name, after, err)
				}
				if took := time.Since(begin); took != after || len(w.activeFaults()) > 0 {
					t.Errorf("%s after %s: it took %s, and still active are %q", s.Name, after, took, w.activeFaults())
				}
			})
		}
	}
}

// The faults are cleared then, and what the cloud refused is still an error.
func TestRunEndsWithoutAnErrorWhenItsDeviceHasEnded(t *testing.T) {
	for refused, want := range map[string]string{
		"": "<nil>", "move": "scenario: test: move B at 5s: the world refuses",
	} {
		inBubble(t, func(t *testing.T) {
			w := &recorder{refuses: refused,
				answers: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }}
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(20*time.Second, func() { cancel(scenario.ErrOver) })
			begin, told := time.Now(), ""
			err := mustParse(t, "at 5s move B; at 10s kill B; at 15s method echo; at 21s move A; end 5m").Run(ctx, w,
				deviceID, func(h scenario.Event) { told += h.String() + "\n" })
			if took := time.Since(begin); fmt.Sprint(err) != want || took != 20*time.Second {
				t.Errorf("it took %s: %v, want %s", took, err, want)
			}
			if len(w.activeFaults()) > 0 || strings.Contains(told, "move A") ||
				!strings.Contains(told, "echo: no answer: "+scenario.ErrUnanswered.Error()) {
				t.Errorf("still active are %q, and told was\n%s", w.activeFaults(), told)
			}
		})
	}
}

func TestErrorsOfTheWorldAreReportedAndTheRunContinues(t *testing.T) {
	for refused, want := range map[string]string{
		"strike A":     "kill A fin for 10s at 10s: the world refuses",
		"heal A":       "heal A fin at 20s: the world refuses",
		"move":         "move B at 15s: the world refuses",
		"desired dev1": "",
	} {
		inBubble(t, func(t *testing.T) {
			told, err := tell(t, t.Context(), &recorder{refuses: refused},
				`at 10s kill A for 10s; at 15s move B; at 16s desired {"a":1}; end 1m`)
			if want == "" && err != nil || want != "" &&
				(err == nil || !strings.HasPrefix(err.Error(), "scenario: test: "+want)) {
				t.Errorf("%s: %v", refused, err)
			}
			if !strings.Contains(told, ": the world refuses\n") || !strings.Contains(told, "20s heal A fin") {
				t.Errorf("%s: told was\n%s", refused, told)
			}
		})
	}
}

func TestRunNeedsNoObserver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &recorder{}
		if err := mustParse(t, "at 1s kill A; at 2s method echo; end 1m").Run(t.Context(), w, deviceID,
			nil); err != nil {
			t.Error(err)
		}
		if len(w.did) != 3 {
			t.Errorf("done was %q", w.did)
		}
	})
}
