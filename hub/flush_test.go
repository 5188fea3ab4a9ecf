package hub_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/transport"
)

// connect opens the session of a device that hub A of a new cloud has.
func connect(t *testing.T, device string) (*emulator.Cloud, *transport.Session) {
	t.Helper()
	network := memnet.New()
	cloud := emulator.ForTest(t, emulator.Config{Listen: network.Listen})
	group, err := transport.ParseKey(emulator.DevelopmentGroupKey)
	if err == nil {
		err = cloud.Assign(device, "A")
	}
	if err != nil {
		t.Fatal(err)
	}
	host := cloud.Hub("A")
	s, err := transport.Connect(t.Context(), transport.Config{
		Host: host, ClientID: device, Username: payloads.HubUsername(host, device, ""),
		Link: transport.Link{RootCAs: cloud.CAPool, Dial: network.DialContext},
		Password: func(now time.Time) (string, error) {
			return transport.SAS(host+"/devices/"+device, "", group.Derive(device), now.Add(time.Hour)), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return cloud, s
}

// A device is told to end at the very moment it connects.
func TestReportsAreFlushedOverASessionThatHasNotSubscribedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, session := connect(t, "dev1")
		box := outbox.NewMemory(outbox.Options{})
		h := hub.New(hub.Settings{Outbox: box})
		if err := h.Report(t.Context(), map[string]any{"battery": 80}); err != nil {
			t.Fatal(err)
		}
		h.Begin(session, "dev1")
		box.Seal()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := h.Flush(ctx); err != nil {
			t.Error(err)
		}
		_, reported, _, _ := cloud.Twin("dev1")
		if got, _ := json.Marshal(reported); string(got) != `{"battery":80}` {
			t.Errorf("the twin has %s", got)
		}
	})
}
