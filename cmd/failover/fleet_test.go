//go:build unix && !nolab

package main_test

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestFleetPlanPrintsTheSpreadAndWhatItBrings(t *testing.T) {
	t.Parallel()
	code, out, _ := run(t, nil, "fleet", "plan", "--devices", "2000", "--units", "20")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{
		"2000 devices lose their hub, and the hub returns after 1m0s.", "240 connections a second",
		"all can be back after 8s at best", "with --spread 11s", "this device, --spread 11s", "a fixed 10 s",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	code, out, _ = run(t, nil, "fleet", "plan", "--devices", "100", "--outage", "moved", "-o", "json")
	var results []struct{ Back int }
	if err := json.Unmarshal([]byte(out), &results); code != 0 || err != nil || len(results) != 5 ||
		results[0].Back != 100 {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
}

func TestFleetPlanRefusesWrongFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--devices 0": "--devices", "--devices 1000000": "100000", "--units 0": "--units", "--outage x": "hub-returns",
		"--away -1s": "--away", "-o xml": "--output",
	} {
		code, _, stderr := run(t, nil, append([]string{"fleet", "plan"}, strings.Fields(args)...)...)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, %q", args, code, stderr)
		}
	}
}
