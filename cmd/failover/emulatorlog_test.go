//go:build !nolab

package main

import (
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func TestLineOfTheEmulatorsLogNamesThePlaceAndTheDeviceOnce(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 0, 1e6, time.UTC)
	for want, e := range map[string]emulator.Event{
		"08:00:00.001 hub A  dev1       connected    session present: false": {
			Kind: emulator.KindConnected, Hub: "A", Device: "dev1", Text: "session present: false"},
		"08:00:00.001 DPS    dev1       connected": {Kind: emulator.KindConnected, Hub: "DPS", Device: "dev1"},
		"08:00:00.001 hub B  dev1       violation    published at QoS 2": {
			Kind: emulator.KindViolation, Hub: "B", Device: "dev1", Text: "dev1 at hub B published at QoS 2"},
		"08:00:00.001 hub B  -          violation    a client at hub B sent a packet": {
			Kind: emulator.KindViolation, Hub: "B", Text: "a client at hub B sent a packet"},
		"08:00:00.001 -      dev1       note         was given desired properties": {
			Kind: emulator.KindNote, Device: "dev1", Text: "dev1 was given desired properties"},
		"08:00:00.001 hub A  -          lizard       fin injected": {
			Kind: emulator.KindLizard, Hub: "A", Text: "hub A: fin injected"},
		"08:00:00.001 hub A  dev1       telemetry    dev1 at hub A 7": {
			Kind: emulator.KindTelemetry, Hub: "A", Device: "dev1", Text: "dev1 at hub A 7"},
		"08:00:00.001 -      -          note         the data cannot be written": {
			Kind: emulator.KindNote, Text: "the data cannot be written"},
	} {
		e.Time = at
		if got := eventLine(e); got != want {
			t.Errorf("%+v is printed as\n%s, want\n%s", e, got, want)
		}
	}
}
