package control_test

import (
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func TestTheLastValueIsTheNewestByTheDevicesClock(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		path := devicePath + "/telemetry/temp" + version
		w.wantError(404, "NotFound", "no value", "GET", path, "")
		send := func(bag, body string) {
			t.Helper()
			g.wait(g.Publish("devices/dev1/messages/events/"+bag, 1, false, body))
		}
		want := func(path, want string) {
			t.Helper()
			wantJSON(t, w.want(200, "GET", path, ""), want)
		}
		send("", `{"temp":21.50}`)
		want(path, `{"timestamp":"2000-01-01T00:00:00Z","value":21.50}`)
		time.Sleep(time.Hour)
		send("iothub-creation-time-utc=2000-01-01T00%3A30%3A00.5Z", `{"temp":22,"humidity":{"a":1}}`)
		want(path, `{"timestamp":"2000-01-01T00:30:00.5Z","value":22}`)
		send("iothub-creation-time-utc=2000-01-01T00%3A10%3A00Z", `{"temp":1}`) // an older reading
		want(path, `{"timestamp":"2000-01-01T00:30:00.5Z","value":22}`)
		want(devicePath+"/telemetry/humidity"+version, `{"timestamp":"2000-01-01T00:30:00.5Z","value":{"a":1}}`)
		for _, body := range []string{``, `[1]`, `{`, "\xff", `5`, `null`} {
			send("", body)
		}
		send("iothub-creation-time-utc=yesterday", `{"temp":null}`)
		want(path, `{"timestamp":"2000-01-01T01:00:00Z","value":null}`)

		send("%24.sub=part", `{"temp":5}`)
		want(devicePath+"/components/part/telemetry/temp"+version, `{"timestamp":"2000-01-01T01:00:00Z","value":5}`)
		want(path, `{"timestamp":"2000-01-01T01:00:00Z","value":null}`)
		w.wantError(404, "NotFound", "no value", "GET", devicePath+"/components/other/telemetry/temp"+version, "")
	})
}
