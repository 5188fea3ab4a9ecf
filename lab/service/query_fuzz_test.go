package service

import (
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

// Whatever a client sends as a query is either refused or can be evaluated.
func FuzzQuery(f *testing.F) {
	for _, text := range []string{
		"SELECT * FROM devices WHERE tags.site = 'north' AND NOT (a.b IN [1, 'x', null] OR IS_DEFINED($version))",
		"select count() as n from devices where startswith(deviceId, \"d\")", "SELECT a, b.c AS d FROM devices",
		"SELECT * FROM devices WHERE 'a' = 'a' AND 1 < -2e5", "SELECT '", "SELECT * FROM devices WHERE status = ''",
	} {
		f.Add(text)
	}
	twin := emulator.DeviceTwin{Tags: map[string]any{"site": "north", "list": []any{1, nil}}}
	twin.DeviceID = "dev1"
	document := newTwinDocument(twin)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parseQuery(text)
		if err != nil {
			return
		}
		if q.where != nil {
			q.where(document)
		}
		q.project(document)
	})
}
