package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func (w world) mustKnow() emulator.DeviceInfo {
	w.Helper()
	d, err := w.Device(device)
	if err != nil {
		w.Fatal(err)
	}
	return d
}

func TestDeviceInfoFollowsTheDevice(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		if _, err := w.Device(device); !errors.Is(err, emulator.ErrUnknownDevice) {
			t.Errorf("before it came: %v", err)
		}
		w.Enroll(device, "")
		w.Enroll("another", "")
		if d := w.mustKnow(); d.ID != device || d.Hub != "" || d.Connected || !d.Enabled || d.Model != "" ||
			d.Pending != 0 {
			t.Errorf("enrolled: %+v", d)
		}
		p := w.mustConnect(login{hub: "A"})
		w.SendMessage(device, emulator.Message{})
		if d := w.mustKnow(); d.Hub != "A" || !d.Connected || d.Model != "dtmi:Sample:Failover;1" || d.Pending != 1 {
			t.Errorf("connected: %+v", d)
		}
		w.Inject(device, emulator.Blocked, emulator.Params{})
		p.mustLose(time.Second)
		if d := w.mustKnow(); d.Connected || d.Enabled {
			t.Errorf("blocked: %+v", d)
		}
		if all := w.Devices(); len(all) != 2 || all[0].ID != "another" || all[1].ID != device {
			t.Errorf("all are %+v", all)
		}
	})
}

func TestTheModelIsTheOneInTheRegistration(t *testing.T) {
	for payload, want := range map[string]string{
		`{"modelId":"dtmi:a;1"}`: "dtmi:a;1", `{"iotcModelId":"dtmi:b;1"}`: "dtmi:b;1",
		`{"modelId":"dtmi:a;1","iotcModelId":"dtmi:b;1"}`: "dtmi:a;1",
		`{"modelId":5}`: "", `[]`: "", `null`: "",
	} {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			p := w.mustConnect(login{})
			p.mustSubscribe("$dps/registrations/res/#")
			p.mustPublish(fmt.Sprintf(putTopic, 1), `{"registrationId":"dev1","payload":`+payload+`}`)
			if d := w.mustKnow(); d.Model != want {
				t.Errorf("%s: the model is %q", payload, d.Model)
			}
		})
	}
}

func TestMetadataHasTheTimeAndVersionOfEachProperty(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Enroll(device, "")
		began := time.Now()
		set := func(patch string) {
			t.Helper()
			if err := w.SetDesired(device, object(t, patch)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		set(`{"a":1,"b":{"x":1,"y":{"z":1}},"gone":1}`)
		before := w.mustKnow().Desired
		set(`{"b":{"y":{"z":2}},"gone":null}`)
		set(`{"a":{"now":"an object"}}`)
		d := w.mustKnow().Desired
		want := func(name string, m emulator.Metadata, version, members int) {
			t.Helper()
			at := began.Add(time.Duration(version-2) * time.Minute)
			if m.Version != version || !m.Updated.Equal(at) || len(m.Members) != members {
				t.Errorf("%s: %+v", name, m)
			}
		}
		m := d.Metadata
		want("the whole", m, 4, 2)
		want("a", m.Members["a"], 4, 1)
		want("a.now", m.Members["a"].Members["now"], 4, 0)
		want("b", m.Members["b"], 3, 2)
		want("b.x", m.Members["b"].Members["x"], 2, 0)
		want("b.y.z", m.Members["b"].Members["y"].Members["z"], 3, 0)
		want("what was seen before", before.Metadata, 2, 3)
		if text, _ := json.Marshal(before.Properties); string(text) != `{"a":1,"b":{"x":1,"y":{"z":1}},"gone":1}` {
			t.Errorf("what was seen before has changed: %s", text)
		}
	})
}

func TestADeviceReceivesItsTwinWithoutMetadata(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe("$iothub/twin/res/#")
		w.SetDesired(device, map[string]any{"a": 1})
		p.mustPublish("$iothub/twin/GET/?$rid=1", "")
		if got := p.topics(); len(got) != 1 ||
			got[0] != `$iothub/twin/res/200/?$rid=1 {"desired":{"$version":2,"a":1},"reported":{"$version":1}}` {
			t.Errorf("received %q", got)
		}
	})
}

func TestDeviceKeyReturnsTheKeyThatSignsTokens(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		own := base64.StdEncoding.EncodeToString([]byte("a key of its own"))
		for given, want := range map[string]string{
			"": base64.StdEncoding.EncodeToString(deviceKey(w.Cloud, device)), own: own,
		} {
			w.Enroll(device, given)
			if key, err := w.DeviceKey(device); key != want || err != nil {
				t.Errorf("enrolled with %q: %q, %v", given, key, err)
			}
		}
		if _, err := w.DeviceKey("nobody"); !errors.Is(err, emulator.ErrUnknownDevice) {
			t.Error(err)
		}
	})
}

func TestPurgedMessagesAreNotSent(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		for range 3 {
			w.SendMessage(device, emulator.Message{TTL: time.Hour})
		}
		w.SendMessage(device, emulator.Message{TTL: time.Minute})
		time.Sleep(2 * time.Minute)
		if n, err := w.PurgeMessages(device); n != 3 || err != nil {
			t.Errorf("%d purged, %v", n, err)
		}
		p.mustSubscribe("devices/dev1/messages/devicebound/#")
		if got := p.topics(); len(got) > 0 {
			t.Errorf("received %q", got)
		}
		if _, err := w.PurgeMessages("nobody"); !errors.Is(err, emulator.ErrUnknownDevice) {
			t.Error(err)
		}
	})
}

func TestADeletedDeviceRegistersAsANewDevice(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "B"})
		p.mustSubscribe("$iothub/methods/POST/#")
		w.SetDesired(device, map[string]any{"a": 1})
		w.Inject(device, emulator.NoPUBACK, emulator.Params{For: time.Minute})
		called := make(chan error, 1)
		go func() {
			_, _, err := w.InvokeMethod(t.Context(), device, "slow", nil)
			called <- err
		}()
		synctest.Wait()
		if err := w.DeleteDevice(device); err != nil {
			t.Fatal(err)
		}
		p.mustLose(time.Second)
		if _, err := w.Device(device); !errors.Is(err, emulator.ErrUnknownDevice) || len(w.Devices()) > 0 ||
			len(w.ActiveFaults()) > 0 {
			t.Errorf("it is still there: %v", err)
		}
		if code := w.refusal(login{hub: "B"}); code != 5 {
			t.Errorf("CONNACK is %d", code)
		}
		if err := <-called; !errors.Is(err, emulator.ErrMethodTimeout) {
			t.Errorf("the method that was under way: %v", err)
		}
		w.mustConnect(login{hub: "A"})
		if d := w.mustKnow(); d.Hub != "A" || d.Desired.Version != 1 || len(d.Desired.Properties) > 0 {
			t.Errorf("it came back with %+v", d)
		}
		if err := w.DeleteDevice("nobody"); !errors.Is(err, emulator.ErrUnknownDevice) {
			t.Error(err)
		}
	})
}

// Clear must find the target, also if a device has the name of a hub.
func TestActiveFaultsNamesTargetsForClear(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		for _, id := range []string{"A", "DPS", device} {
			w.Enroll(id, "")
			w.Inject("device/"+id, emulator.Reject, emulator.Params{})
		}
		w.Inject("A", emulator.Reject, emulator.Params{Count: 3})
		for _, s := range w.ActiveFaults() {
			if err := w.Clear(s.Target, s.Fault); err != nil {
				t.Error(err)
			}
		}
		if left := w.ActiveFaults(); len(left) > 0 {
			t.Errorf("left are %+v", left)
		}
	})
}

func TestGivenReturnsParametersForSet(t *testing.T) {
	given := map[string]string{
		"for": "30s", "count": "3", "probability": "0.5", "delay": "1.5s", "jitter": "1ms", "rate": "10",
		"retry-after": "2s", "status": "503", "mark": "a = b", "hub": "B", "anew": "true",
	}
	var p emulator.Params
	for _, name := range emulator.ParameterNames() {
		if err := p.Set(name, given[name]); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.Given(); fmt.Sprint(got) != fmt.Sprint(given) {
		t.Errorf("given are %v", got)
	}
	if got := (emulator.Params{}).Given(); len(got) > 0 {
		t.Errorf("of nothing are given %v", got)
	}
}
