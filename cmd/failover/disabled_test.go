//go:build unix

package main_test

import (
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/slow"
)

func TestDisabledKindsAreNotUsed(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	const (
		commands = "devices/dev1/messages/devicebound/#"
		methods  = "$iothub/methods/POST/#"
		answers  = "$iothub/twin/res/#"
		desired  = "$iothub/twin/PATCH/properties/desired/#"
	)
	for args, want := range map[string][]string{
		"":                         {commands, methods, answers, desired},
		"--no-methods":             {commands, answers, desired},
		"--no-commands":            {methods, answers, desired},
		"--no-desired-properties":  {commands, methods, answers},
		"--no-reported-properties": {commands, methods, answers, desired},
		"--no-desired-properties --no-reported-properties":                  {commands, methods},
		"--no-methods --no-commands --no-desired-properties --no-telemetry": {answers},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			cloud := newCloud(t)
			p := device(t, cloud, strings.Fields(args)...)
			wait(t, cloud, "subscriptions", func() bool { return len(cloud.Subscriptions("dev1", "A")) >= len(want) })
			off := func(what string) bool { return strings.Contains(args, "--no-"+what) }
			if !off("telemetry") {
				waitReadings(t, cloud, "A", 2)
			}
			battery := func() any { _, reported, _, _ := cloud.Twin("dev1"); return reported["battery"] }
			if !off("reported-properties") {
				wait(t, cloud, "a battery report", func() bool { return battery() != nil })
			}
			p.terminate(0)
			got := cloud.Subscriptions("dev1", "A")
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("it subscribes to %q, want %q", got, want)
			}
			if n := readings(cloud, "A"); off("telemetry") && n > 0 {
				t.Errorf("%d readings came", n)
			}
			if b := battery(); off("reported-properties") && b != nil {
				t.Errorf("battery %v was reported", b)
			}
		})
	}
}
