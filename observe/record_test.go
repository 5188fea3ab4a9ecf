package observe_test

import (
	"testing"
	"time"

	"giantlizard.example/failover/observe"
)

func TestEveryKindHasAMessageForPeople(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		r    observe.Record
		want string
	}{
		{observe.Record{Kind: observe.Transition, From: "Connected", Event: "lost", To: "Failover", Hub: hubA,
			Cause: "closed"},
			"Connected -> Failover on lost at hub-a.azure-devices.net (closed)"},
		{
			observe.Record{Kind: observe.Transition, From: "Failover", Event: "reprovision", To: "Provisioning",
				Attempt: 3,
			},
			"Failover -> Provisioning on reprovision attempt 3"},
		{observe.Record{Kind: observe.Transition, To: "Provisioning"}, "-> Provisioning"},
		{observe.Record{Kind: observe.Waiting, Time: now, Event: "retry-hub", Next: now.Add(1250 * time.Millisecond),
			Cause: "dps-throttled"},
			"next: retry-hub in 1.2 s (dps-throttled)"},
		{observe.Record{Kind: observe.Outcome, Outcome: observe.Reconnected, FromHub: hubA, Hub: hubA, SpentMS: 9},
			"reconnected at hub-a.azure-devices.net in 9 ms"},
		{observe.Record{Kind: observe.Outcome, Outcome: observe.FailedOver, FromHub: hubA, Hub: hubB, SpentMS: 185_000},
			"failed over from hub-a.azure-devices.net to hub-b.azure-devices.net in 3 min 5 s"},
		{observe.Record{Kind: observe.Outcome, Outcome: observe.FailedBack, FromHub: hubB, Hub: hubA,
			SpentMS: 26 * 3_600_000},
			"failed back from hub-b.azure-devices.net to hub-a.azure-devices.net in 1 d 2 h"},
		{observe.Record{Kind: observe.Accepted, ID: "9f-1"}, "taken 9f-1"},
		{observe.Record{Kind: observe.Delivered, ID: "9f-1", Hub: hubA}, "delivered 9f-1 to hub-a.azure-devices.net"},
		{observe.Record{Kind: observe.Dropped, ID: "9f-1", Cause: "full"}, "dropped 9f-1 (full)"},
		{observe.Record{Kind: observe.IllegalEvent, Event: "renew", State: "Failover"}, `refused "renew" in Failover`},
		{observe.Record{Kind: observe.Handled, Name: "method echo", Status: 200}, "method echo answered 200"},
		{observe.Record{Kind: observe.Warning, Error: "the disk is full"}, "the disk is full"},
		{observe.Record{Kind: observe.Note, Message: "hello"}, "hello"},
		{observe.Record{Kind: observe.Clock, StepMS: 265_000_000}, "the clock was set 3 d 1 h ahead"},
		{observe.Record{Kind: observe.Clock, StepMS: -7_200_000}, "the clock was set 2 h 0 min back"},
		{observe.Record{Kind: observe.Payload, Hub: hubA, Bytes: 27},
			"DPS returned a payload of 27 bytes with the assignment"},
	} {
		if got := c.r.Describe().Message; got != c.want {
			t.Errorf("%s says %q, want %q", c.r.Kind, got, c.want)
		}
	}
}

func TestDescribeKeepsAMessage(t *testing.T) {
	r := observe.Record{Kind: observe.Warning, Message: "a twin request failed", Error: "no answer"}
	if got := r.Describe().Message; got != "a twin request failed" {
		t.Errorf("%q", got)
	}
}
