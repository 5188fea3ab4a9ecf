package interop_test

import (
	"maps"
	"os/exec"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

func TestSDKDeviceDoesEverything(t *testing.T) {
	slow.Test(t)
	for name, start := range map[string]func(*testing.T, emulator.Config) *emulator.Cloud{
		"before hubs with addresses of their own": onAddresses, "before hubs with ports": onPorts,
	} {
		t.Run(name, func(t *testing.T) { everything(t, start(t, emulator.Config{RetryAfter: time.Second})) })
	}
}

// everything checks all features of the device at the cloud.
func everything(t *testing.T, cloud *emulator.Cloud) {
	if err := cloud.Enroll(deviceID, ""); err != nil {
		t.Fatal(err)
	}
	world{Cloud: cloud}.setFan(t, 3)
	w := world{cloud, start(t, cloud, 100*time.Millisecond)}

	w.ready(t, "A")
	if n, payload := w.Registrations(deviceID), w.RegistrationPayload(deviceID); n != 1 ||
		string(payload) != `{"modelId":"dtmi:Sample:Failover;1"}` {
		t.Errorf("%d registrations, payload %s", n, payload)
	}
	w.until(t, "ten readings", func() bool { return len(w.Ledger()) >= 10 })
	wantReadings(t, w.Ledger()[:10])
	_, reported, _, _ := w.Twin(deviceID)
	if battery, ok := reported["battery"].(float64); !ok || battery < 0 || battery > 100 {
		t.Errorf("it reports the battery as %v", reported["battery"])
	}
	w.wantFan(t, 3)
	if err := w.SetDesired(deviceID, map[string]any{"fanSpeed": 5, "color": map[string]any{"r": 1}}); err != nil {
		t.Fatal(err)
	}
	w.wantFan(t, 5)
	w.until(t, "the other property of the patch", func() bool {
		return w.reported("color", map[string]any{"value": map[string]any{"r": 1.0}, "ac": 200.0, "ad": "completed",
			"av": 3.0})
	})
	w.wantEcho(t)
	const parameter = `{"level":"a b+c&d=é%"}`
	w.wantAlarm(t, parameter)

	w.device.stop(t)
	w.wantSeen(t, parameter)
	if code := w.device.command.ProcessState.ExitCode(); code != 0 || len(w.device.happenings(t, "closed")) != 1 {
		t.Errorf("it ended with %d", code)
	}
	w.until(t, "the end of its session", func() bool { return !w.Connected(deviceID, "A") })
	if n := len(w.Ledger()); n < len(w.device.happenings(t, "delivered")) {
		t.Errorf("%d readings arrived, and it says that more were acknowledged", n)
	}
	if broken := w.Violations(); len(broken) > 0 {
		t.Errorf("violations: %q", broken)
	}
	for _, key := range []string{w.GroupKey(), deviceKey(t, cloud)} {
		if said := w.device.said.String() +
			w.device.errors.String(); strings.Contains(said, strings.TrimRight(key, "=")) {
			t.Error("it has printed a key")
		}
	}
}

func TestSDKDeviceNeedsItsSettings(t *testing.T) {
	slow.Test(t)
	s := install(t)
	complete := map[string]string{
		"FAILOVER_PROVISIONING_HOST": "127.0.0.1", "FAILOVER_ID_SCOPE": "0ne00000000", "FAILOVER_DEVICE_ID": deviceID,
		"FAILOVER_DEVICE_KEY": "a2V5", "NODE_PATH": s.modules,
	}
	for name, value := range map[string]string{
		"FAILOVER_PROVISIONING_HOST": "", "FAILOVER_ID_SCOPE": "", "FAILOVER_DEVICE_ID": "", "FAILOVER_DEVICE_KEY": "",
		"FAILOVER_CA_FILE": "ca.pem", "FAILOVER_INTERVAL": "soon",
	} {
		settings := maps.Clone(complete)
		settings[name] = value
		command := exec.Command(s.node, "device.js")
		for name, value := range settings {
			command.Env = append(command.Env, name+"="+value)
		}
		out, err := command.CombinedOutput()
		if command.ProcessState.ExitCode() != 2 || len(out) == 0 || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s=%s: %v, %s", name, value, err, out)
		}
	}
}

// The SDK subscribes again to messages and methods. For the twin it relies on the session that the
// hub has kept.
func TestSDKReconnectsAndReceivesAsBefore(t *testing.T) {
	slow.Test(t)
	cloud := onPorts(t, emulator.Config{RetryAfter: time.Second})
	w := world{cloud, start(t, cloud, 100*time.Millisecond)}
	w.ready(t, "A")
	if err := w.KillHub("A", emulator.FIN); err != nil {
		t.Fatal(err)
	}
	if err := w.ReviveHub("A"); err != nil {
		t.Fatal(err)
	}
	w.until(t, "the device again", func() bool { return w.Connects(deviceID, "A") > 1 && w.Connected(deviceID, "A") })
	w.setFan(t, 3)
	w.wantFan(t, 3)
	w.wantEcho(t)
	w.wantAlarm(t, "again")
	w.device.stop(t)
	w.wantSeen(t, "again")
	if n, broken := w.Registrations(deviceID), w.Violations(); n != 1 || len(broken) > 0 {
		t.Errorf("%d registrations, violations: %q", n, broken)
	}
}

// The sample's policy handles a hub that answers "Server unavailable": the device leaves it at
// once.
func TestSDKDeviceMovesToTheOtherHubAndBack(t *testing.T) {
	slow.Test(t)
	cloud := onPorts(t, emulator.Config{RetryAfter: time.Second})
	w := world{cloud, start(t, cloud, 100*time.Millisecond)}
	w.ready(t, "A")
	for _, way := range [][2]string{{"A", "B"}, {"B", "A"}} {
		from, to := way[0], way[1]
		if err := w.KillHub(from, emulator.Refuse, emulator.WithMove); err != nil {
			t.Fatal(err)
		}
		begin, before := time.Now(), len(w.Ledger())
		if err := w.SendCommand(deviceID, "setAlarm", nil); err != nil {
			t.Fatal(err)
		}
		w.setFan(t, 1) // which is found in the twin of the other hub
		w.ready(t, to)
		w.until(t, "a reading at hub "+to, func() bool { return w.here(before, to) })
		t.Logf("from hub %s to hub %s in %v", from, to, time.Since(begin).Round(time.Millisecond))
		w.until(t, "what came for it meanwhile", func() bool { return w.QueueLength(deviceID) == 0 })
		w.wantFan(t, 1)
		w.setFan(t, 2)
		w.wantFan(t, 2)
		w.wantEcho(t)
		w.wantAlarm(t, to)
		if err := w.ReviveHub(from); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.Registrations(deviceID); n != 3 {
		t.Errorf("%d registrations", n)
	}
	w.device.stop(t)
	w.wantSeen(t, "@", "B", "@", "A")
	if broken := w.Violations(); len(broken) > 0 {
		t.Errorf("violations: %q", broken)
	}
}
