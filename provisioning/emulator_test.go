package provisioning_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/memnet"
	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// inCloud returns an emulator and a registration at it.
func inCloud(t *testing.T, config emulator.Config) (*emulator.Cloud, request) {
	t.Helper()
	cloud := emulator.ForTest(t, config)
	return cloud, provisioning.Request{
		Identity: provisioning.Identity{
			ProvisioningHost: cloud.DPSHost(), IDScope: cloud.IDScope(), RegistrationID: "dev1",
			ModelID: "dtmi:Sample:Failover;1",
			Key: func() (transport.Key, error) {
				group, err := transport.ParseKey(cloud.GroupKey())
				return group.Derive("dev1"), err
			},
		},
		Link: transport.Link{RootCAs: cloud.CAPool},
	}
}

func inCloudBubble(t *testing.T, config emulator.Config, test func(*testing.T, *emulator.Cloud, request)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		config.Listen = network.Listen
		cloud, request := inCloud(t, config)
		request.Link.Dial = network.DialContext
		test(t, cloud, request)
	})
}

func TestTheEmulatorAssignsItsHubs(t *testing.T) {
	inCloudBubble(t, emulator.Config{}, func(t *testing.T, cloud *emulator.Cloud, r request) {
		for _, step := range []struct {
			hub, substatus string
		}{{"A", "initialAssignment"}, {"B", "deviceDataMigrated"}} {
			start := time.Now()
			a, err := provisioning.Register(t.Context(), r)
			want := provisioning.Assignment{Hub: cloud.Hub(step.hub), DeviceID: "dev1", Substatus: step.substatus}
			if a.Updated.IsZero() || a.Updated.After(time.Now()) {
				t.Errorf("Updated is %v", a.Updated)
			}
			a.Updated = time.Time{}
			if err != nil || a != want || time.Since(start) != 3*time.Second {
				t.Errorf("got %+v, %v after %v, want %+v", a, err, time.Since(start), want)
			}
			if err := cloud.MoveDevice("dev1", "B"); err != nil {
				t.Fatal(err)
			}
		}
		if n := cloud.Registrations("dev1"); n != 2 {
			t.Errorf("%d registrations", n)
		}
		if payload := string(cloud.RegistrationPayload("dev1")); payload != `{"modelId":"dtmi:Sample:Failover;1"}` {
			t.Errorf("the payload was %s", payload)
		}
		if v := cloud.Violations(); len(v) > 0 {
			t.Errorf("the device violated rules: %q", v)
		}
	})
}

func TestTheEmulatorAssignsItsHubOverSockets(t *testing.T) {
	slow.Test(t)
	cloud, r := inCloud(t, emulator.Config{RetryAfter: time.Second})
	if a, err := provisioning.Register(t.Context(), r); err != nil || a.Hub != cloud.Hub("A") {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestEachFaultOfDPSHasItsVerdict(t *testing.T) {
	for fault, want := range map[emulator.Fault]provisioning.Error{
		emulator.DPSThrottles:    {Verdict: throttled, Status: 429, Code: 429001, RetryAfter: 3 * time.Second},
		emulator.DPSUnavailable:  {Verdict: unavailable, Status: 503, Code: 503001},
		emulator.DPSUnauthorized: {Verdict: refused, Status: 401, Code: 401002},
		emulator.DPSForbids:      {Verdict: refused, Status: 403, Code: 403001},
		emulator.DPSForgets:      {Verdict: refused, Status: 404, Code: 404201},
		emulator.DPSRefuses:      {Verdict: refused},
		emulator.DPSFails:        {Verdict: refused, Status: 200, Code: 400209},
		emulator.DPSDisabled:     {Verdict: refused, Status: 200},
	} {
		t.Run(string(fault), func(t *testing.T) {
			inCloudBubble(t, emulator.Config{}, func(t *testing.T, cloud *emulator.Cloud, r request) {
				if err := cloud.BreakDPS(fault); err != nil {
					t.Fatal(err)
				}
				_, err := provisioning.Register(t.Context(), r)
				var got *provisioning.Error
				if !errors.As(err, &got) {
					t.Fatalf("got %v", err)
				}
				if got.Verdict != want.Verdict || got.Status != want.Status || got.Code != want.Code ||
					got.RetryAfter != want.RetryAfter {
					t.Errorf("got %+v, want %+v", got, want)
				}
				if got.Status >= 400 && (got.TrackingID == "" || got.Message == "") {
					t.Errorf("the message or the tracking ID of DPS is missing: %+v", got)
				}
				if err := cloud.BreakDPS(emulator.DPSHealthy); err != nil {
					t.Fatal(err)
				}
				if _, err := provisioning.Register(t.Context(), r); err != nil {
					t.Errorf("after the fault: %v", err)
				}
			})
		})
	}
}

func TestARefusedDeviceIsToldWhatToCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*request)
		advice string
	}{
		"with another's key": {func(r *request) { r.Key = key }, "key"},
		"with another scope": {func(r *request) { r.IDScope = "0neOTHER" }, "ID scope"},
		"with another's ID":  {func(r *request) { r.RegistrationID = "dev2" }, "registration ID"},
	} {
		t.Run(name, func(t *testing.T) {
			inCloudBubble(t, emulator.Config{}, func(t *testing.T, cloud *emulator.Cloud, r request) {
				c.change(&r)
				_, err := provisioning.Register(t.Context(), r)
				if !errors.Is(err, refused) || !strings.Contains(err.Error(), c.advice) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestAStoppedDPSIsUnavailableUntilItStarts(t *testing.T) {
	inCloudBubble(t, emulator.Config{}, func(t *testing.T, cloud *emulator.Cloud, r request) {
		if err := cloud.StopDPS(); err != nil {
			t.Fatal(err)
		}
		_, err := provisioning.Register(t.Context(), r)
		if !errors.Is(err, unavailable) || !errors.Is(err, transport.ConnectionRefused) {
			t.Errorf("got %v", err)
		}
		if err := cloud.StartDPS(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { _ = cloud.StopDPS() })
		_, err = provisioning.Register(t.Context(), r)
		if !errors.Is(err, unavailable) || !errors.Is(err, transport.Closed) {
			t.Errorf("stopped during a registration: %v", err)
		}
	})
}

// paho may need a second to release a broken connection, for which a device must not wait.
func TestASessionThatDPSEndsIsGivenToEnded(t *testing.T) {
	for _, fault := range []emulator.Fault{
		emulator.Garbage, emulator.Truncated, emulator.Oversize, emulator.SUBACKLong,
	} {
		inCloudBubble(t, emulator.Config{}, func(t *testing.T, cloud *emulator.Cloud, r request) {
			if err := cloud.Inject(emulator.TargetDPS, fault, emulator.Params{}); err != nil {
				t.Fatal(err)
			}
			var ended []*transport.Session
			r.Ended = func(s *transport.Session) { ended = append(ended, s) }
			start := time.Now()
			if _, err := provisioning.Register(t.Context(), r); !errors.Is(err, unavailable) || time.Since(start) > 0 {
				t.Errorf("%s: %v after %v", fault, err, time.Since(start))
			}
			if len(ended) != 1 {
				t.Fatalf("%s: %d sessions were given to Ended", fault, len(ended))
			}
			<-ended[0].Done()
		})
	}
}

func TestEveryDocumentedRegistrationIDIsAssigned(t *testing.T) {
	for _, id := range []string{"Dev1", "-dev1", "dev1-", "a.b_c:d"} {
		inCloudBubble(t, emulator.Config{}, func(t *testing.T, cloud *emulator.Cloud, r request) {
			r.RegistrationID = id
			r.Key = func() (transport.Key, error) {
				group, err := transport.ParseKey(cloud.GroupKey())
				return group.Derive(id), err
			}
			if a, err := provisioning.Register(t.Context(), r); err != nil || a.DeviceID != id ||
				a.Hub != cloud.Hub("A") {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}
