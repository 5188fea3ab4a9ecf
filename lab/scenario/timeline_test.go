package scenario_test

import (
	"fmt"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// steps returns the steps of a text, one a line, with their effect on the way.
func steps(t *testing.T, text string) (lines string) {
	t.Helper()
	for _, step := range mustParse(t, text).Steps() {
		lines += fmt.Sprintf("%s %s", step.At, step)
		if step.Way != scenario.Unchanged {
			lines += " " + string(step.Way)
		}
		lines += "\n"
	}
	return lines
}

func TestFaultsEndBeforeOthersBeginAtTheSameTime(t *testing.T) {
	wantLines(t, "steps", steps(t, `
		every 10s to 40s kill DPS for 10s
		at 30s method b; at 30s method a
		at 40s move A; at 10s desired {}
		end 1m`), `
		10s kill DPS fin for 10s
		10s desired {}
		20s heal DPS fin
		20s kill DPS fin for 10s
		30s heal DPS fin
		30s kill DPS fin for 10s
		30s method b
		30s method a
		40s heal DPS fin
		40s kill DPS fin for 10s
		40s move A
		50s heal DPS fin
	`)
}

func TestReplacedOrClearedFaultHasNoEndOfItsOwn(t *testing.T) {
	wantLines(t, "steps", steps(t, `
		at 10s kill A for 20s; at 20s kill A for 20s        # again
		at 1m10s kill A for 20s; at 1m20s kill A rst for 20s # in another way
		at 2m10s kill A for 20s; at 2m20s heal A fin
		at 3m10s kill A for 20s; at 3m11s strike A slow delay=1s for 20s; at 3m20s heal A
		at 4m10s kill A for 20s; at 4m20s heal A rst         # which it is not
		at 5m10s kill A for 20s; at 5m10s kill B for 10s
		end 6m`), `
		10s kill A fin for 20s shuts
		20s kill A fin for 20s
		40s heal A fin opens
		1m10s kill A fin for 20s shuts
		1m20s kill A rst for 20s
		1m40s heal A rst opens
		2m10s kill A fin for 20s shuts
		2m20s heal A fin opens
		3m10s kill A fin for 20s shuts
		3m11s strike A slow for 20s delay=1s
		3m20s heal A opens
		4m10s kill A fin for 20s shuts
		4m20s heal A rst
		4m30s heal A fin opens
		5m10s kill A fin for 20s shuts
		5m10s kill B fin for 10s
		5m20s heal B fin
		5m30s heal A fin opens
	`)
}

func TestWayIsOpenWhileDeviceAndHubHaveNoFaultAndDPSAfterAMove(t *testing.T) {
	wantLines(t, "steps", steps(t, `
		at 10s kill DPS for 10s  # who knows its hub needs no DPS
		at 30s kill B for 10s    # nor the other hub
		at 50s kill A; at 55s move B
		at 1m move B             # where it is
		at 1m10s strike DPS mute for 10s
		at 1m30s strike device reject for 10s
		at 1m50s kill DPS; at 1m55s move A; at 2m heal DPS; at 2m5s heal A
		end 3m`), `
		10s kill DPS fin for 10s
		20s heal DPS fin
		30s kill B fin for 10s
		40s heal B fin
		50s kill A fin shuts
		55s move B opens
		1m0s move B
		1m10s strike DPS mute for 10s shuts
		1m20s heal DPS mute opens
		1m30s strike device reject for 10s shuts
		1m40s heal device reject opens
		1m50s kill DPS fin shuts
		1m55s move A
		2m0s heal DPS
		2m5s heal A opens
	`)
}

// For each seed the faults end in time, and the way is open then.
func TestRandomAttacksEndWithAnOpenWay(t *testing.T) {
	days := map[string]bool{}
	faults := map[emulator.Fault]bool{}
	s := mustParse(t, "random attacks from 10s to 3m every about 15s; end 5m")
	for seed := range uint64(2000) {
		steps := s.WithSeed(seed).Steps()
		if len(steps) < 5 || len(steps) > 60 {
			t.Errorf("seed %d: %d steps", seed, len(steps))
		}
		open := true
		for _, step := range steps {
			switch {
			case step.At < 10*time.Second || step.At > 3*time.Minute:
				t.Errorf("seed %d: %s at %s", seed, step, step.At)
			case step.Verb == scenario.Inject && (step.Params.For < 5*time.Second || step.Fault == ""):
				t.Errorf("seed %d: %s", seed, step)
			case step.Verb != scenario.Inject && step.Verb != scenario.Clear && step.Verb != scenario.Move:
				t.Errorf("seed %d: %+v", seed, step)
			}
			if step.Way != scenario.Unchanged {
				open = step.Way == scenario.Opens
			}
			faults[step.Fault] = true
		}
		if !open {
			t.Errorf("seed %d: the way is not open at the end: %v", seed, steps)
		}
		days[fmt.Sprint(steps)] = true
	}
	if len(days) != 2000 || len(faults) != 20 {
		t.Errorf("2000 seeds gave %d runs and %d faults", len(days), len(faults)-1)
	}
}

func TestTwoRandomStatementsDiffer(t *testing.T) {
	s := mustParse(t, "random attacks from 10s to 3m every about 15s; end 5m")
	two := mustParse(t, "random attacks from 10s to 3m every about 15s; random attacks from 10s to 3m every about "+
		"15s; end 5m")
	if len(two.Steps()) < len(s.Steps())*5/4 {
		t.Errorf("%d steps, and together %d", len(s.Steps()), len(two.Steps()))
	}
}
