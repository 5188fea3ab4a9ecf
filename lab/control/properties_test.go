package control_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

const propertiesPath = devicePath + "/properties" + version

func jsonOf(value any) []byte {
	text, _ := json.Marshal(value)
	return text
}

// withoutTimes removes the times, which differ in each run, and fails the test if they are missing.
func withoutTimes(t *testing.T, shown map[string]any) map[string]any {
	t.Helper()
	for name, value := range shown {
		members, _ := value.(map[string]any)
		if name != "$metadata" {
			if members != nil && members["$metadata"] != nil {
				withoutTimes(t, members)
			}
			continue
		}
		for property, about := range members {
			at, _ := about.(map[string]any)["lastUpdateTime"].(string)
			if when, err := time.Parse(time.RFC3339, at); err != nil || time.Since(when) > time.Hour {
				t.Errorf("%s was set at %q", property, at)
			}
			delete(about.(map[string]any), "lastUpdateTime")
		}
	}
	return shown
}

func TestAPropertyReachesTheDeviceAndItsAcknowledgementIsShown(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	wantJSON(t, w.want(200, "GET", propertiesPath, ""), `{"$metadata":{}}`)
	wantJSON(t, w.want(200, "PATCH", propertiesPath, `{"fanSpeed":3}`), `{"$metadata":{"fanSpeed":{"desiredValue":3}}}`)
	wantJSON(t, withoutTimes(t, w.want(200, "GET", propertiesPath, "")),
		`{"$metadata":{"fanSpeed":{"desiredValue":3,"desiredVersion":2}}}`)
	g := w.newTestDevice() // the device connects now
	w.want(200, "PATCH", propertiesPath, `{"fanSpeed":4}`)
	wantJSON(t, g.patches(1), `["{\"fanSpeed\":4}"]`)
	g.wait(g.Publish("$iothub/twin/PATCH/properties/reported/?$rid=b", 1, false,
		`{"battery":81.5,"odd":{"ac":200},"odder":{"value":1,"ac":200},"oddest":{"value":1,"av":3}}`))
	wantJSON(t, withoutTimes(t, w.want(200, "GET", propertiesPath, "")), `{
		"fanSpeed":4,"battery":81.5,"odd":{"ac":200},"odder":{"value":1,"ac":200},"oddest":{"value":1,"av":3},
		"$metadata":{"battery":{},"odd":{},"odder":{},"oddest":{},
		"fanSpeed":{"desiredValue":4,"desiredVersion":3,"ackVersion":3,"ackCode":200,"ackDescription":"completed"}}}`)

	// An acknowledgement with an error, and a property that the device reports by itself.
	g.wait(g.Publish("$iothub/twin/PATCH/properties/reported/?$rid=c", 1, false,
		`{"fanSpeed":{"value":1,"ac":400,"av":3,"ad":null},"start":{"value":1,"ac":203,"av":0}}`))
	shown := withoutTimes(t, w.want(200, "GET", propertiesPath, ""))
	wantJSON(t, shown["fanSpeed"], `1`)
	wantJSON(t, shown["$metadata"], `{"battery":{},"odd":{},"odder":{},"oddest":{},
		"start":{"ackVersion":0,"ackCode":203},
		"fanSpeed":{"desiredValue":4,"desiredVersion":3,"ackVersion":3,"ackCode":400}}`)
	if v := w.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
}

func TestNumbersKeepTheirText(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	w.want(200, "PATCH", devicePath+version, `{"template":"dtmi:unknown;1"}`)
	for _, number := range []string{"4503599627370495", "1.0", "1e3", "-0.10"} {
		got := w.do(w.request("PATCH", propertiesPath, `{"n":`+number+`}`))
		if want := `{"$metadata":{"n":{"desiredValue":` + number + "}}}\n"; got.text != want {
			t.Errorf("got %q, want %q", got.text, want)
		}
	}
}

func TestAPATCHChangesNamedPropertiesAndAPUTReplacesAll(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	w.want(200, "PATCH", devicePath+version, `{"template":"dtmi:unknown;1"}`)
	desired := func(want string) {
		t.Helper()
		d, _, _, _ := w.Twin(device)
		wantJSON(t, d, want)
	}
	w.want(200, "PUT", propertiesPath, `{"a":1,"b":{"x":1,"y":{"z":1}},"c":[1]}`)
	desired(`{"a":1,"b":{"x":1,"y":{"z":1}},"c":[1]}`)
	w.want(200, "PATCH", propertiesPath, `{"b":{"y":{"w":2}}}`) // an object is replaced as a whole
	desired(`{"a":1,"b":{"y":{"w":2}},"c":[1]}`)
	w.want(200, "PATCH", propertiesPath, `{"a":null}`)
	desired(`{"b":{"y":{"w":2}},"c":[1]}`)
	wantJSON(t, w.want(200, "PUT", propertiesPath, `{"c":2}`), `{"$metadata":{"c":{"desiredValue":2}}}`)
	desired(`{"c":2}`)
	_, _, before, _ := w.Twin(device)
	w.want(200, "PATCH", propertiesPath, `{}`)
	if _, _, after, _ := w.Twin(device); after != before {
		t.Error("a patch of nothing has changed something")
	}
	for _, body := range []string{`{"$a":1}`, `{"a.b":1}`, `{"a":99999999999999999}`} {
		w.wantError(422, "InvalidBody", "Desired properties:", "PATCH", propertiesPath, body)
	}
	w.wantError(422, "InvalidBody", "needs a name", "PATCH", propertiesPath, `{"":1}`)
	desired(`{"c":2}`)
}

// A PUT reads the existing properties before it replaces them. With many properties this takes long
// enough for another PUT to interfere.
func TestConcurrentPUTsLeaveThePropertiesOfOne(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	const properties = 400
	for range 5 {
		var all sync.WaitGroup
		for n := range 8 {
			body := strings.Builder{}
			for p := range properties {
				fmt.Fprintf(&body, `,"p%d_%d":1`, n, p)
			}
			all.Go(func() { w.want(200, "PUT", propertiesPath, "{"+body.String()[1:]+"}") })
		}
		all.Wait()
		if d, _, _, _ := w.Twin(device); len(d) != properties {
			t.Fatalf("there remain %d properties", len(d))
		}
	}
}

func TestTheTemplateDecidesWhichPropertiesCanBeSet(t *testing.T) {
	w := withParts(t)
	for body, part := range map[string]string{
		`{"nothing":1}`: `no "nothing"`, `{"echo":1}`: "not a property", `{"part":5}`: `no "part"`,
		`{"part":{"serial":1}}`: "read-only", `{"part":{"nothing":1}}`: "component part",
	} {
		w.wantError(422, "InvalidBody", part, "PATCH", propertiesPath, body)
	}
	w.wantError(422, "InvalidBody", "read-only", "PUT", devicePath+"/components/part/properties"+version,
		`{"serial":1}`)
	w.wantError(422, "InvalidBody", "no component", "PUT", devicePath+"/components/none/properties"+version,
		`{"serial":1}`)
	w.wantError(404, "NotFound", "no component", "GET", devicePath+"/components/none/properties"+version, ``)
	if d, _, version, _ := w.Twin(device); version != 1 {
		t.Errorf("something was set: %v", d)
	}
	w.want(200, "PATCH", devicePath+"/components/far/properties"+version, `{"anything":1}`)
}

func TestAComponentsPropertiesAreMarkedAsAComponent(t *testing.T) {
	w := withParts(t)
	inPart := devicePath + "/components/part/properties" + version
	wantJSON(t, w.want(200, "GET", inPart, ""), `{"$metadata":{}}`)
	g := w.newTestDevice()
	w.want(200, "PATCH", devicePath+version, `{"template":"dtmi:parts;1"}`)
	wantJSON(t, w.want(200, "PATCH", inPart, `{"speed":5}`), `{"$metadata":{"speed":{"desiredValue":5}}}`)
	wantJSON(t, g.patches(1), `["{\"part\":{\"__t\":\"c\",\"speed\":5}}"]`)
	wantJSON(t, withoutTimes(t, w.want(200, "GET", inPart, "")), `{"speed":5,
		"$metadata":{"speed":{"desiredValue":5,"desiredVersion":2,
		"ackVersion":2,"ackCode":200,"ackDescription":"completed"}}}`)

	wantJSON(t, w.want(200, "PATCH", propertiesPath, `{"target":20,"part":{"__t":"c","speed":6}}`),
		`{"$metadata":{"target":{"desiredValue":20}},"part":{"$metadata":{"speed":{"desiredValue":6}}}}`)
	wantJSON(t, g.patches(2)[1], `"{\"part\":{\"__t\":\"c\",\"speed\":6},\"target\":20}"`)
	wantJSON(t, withoutTimes(t, w.want(200, "GET", propertiesPath, "")), `{"target":20,"part":{"speed":6,
		"$metadata":{"speed":{"desiredValue":6,"desiredVersion":3,
		"ackVersion":3,"ackCode":200,"ackDescription":"completed"}}},
		"$metadata":{"target":{"desiredValue":20,"desiredVersion":3,
		"ackVersion":3,"ackCode":200,"ackDescription":"completed"}}}`)

	w.want(200, "PUT", inPart, `{}`)
	if d, _, _, _ := w.Twin(device); true {
		wantJSON(t, d, `{"target":20,"part":{"__t":"c"}}`)
	}
	w.want(200, "PUT", propertiesPath, `{"target":21}`)
	if d, _, _, _ := w.Twin(device); true {
		wantJSON(t, d, `{"target":21}`)
	}
}

func TestTheTwinIsShownWithItsMetadata(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		time.Sleep(time.Minute)
		w.want(200, "PATCH", propertiesPath, `{"fanSpeed":3}`)
		g.patches(1)
		synctest.Wait()
		shown := w.want(200, "GET", "/system/iothub/devices/dev1/get-twin?extendedInfo=true", "")
		if shown["etag"] == "" {
			t.Error("it has no etag")
		}
		delete(shown, "etag")
		const at = `"$lastUpdated":"2000-01-01T00:01:00.0000000Z"`
		wantJSON(t, shown, `{"deviceId":"dev1","modelId":"dtmi:Sample:Failover;1","version":4,
			"status":"enabled","connectionState":"Connected",
			"cloudToDeviceMessageCount":0,"authenticationType":"sas","capabilities":{"iotEdge":false},"tags":{},
			"properties":{"desired":{"fanSpeed":3,"$version":2,"$metadata":{`+at+`,"$lastUpdatedVersion":2,
				"fanSpeed":{`+at+`,"$lastUpdatedVersion":2}}},
			"reported":{"fanSpeed":{"value":3,"ac":200,"av":2,"ad":"completed"},"$version":2,
				"$metadata":{`+at+`,"fanSpeed":{`+at+`,
				"value":{`+at+`},"ac":{`+at+`},"av":{`+at+`},"ad":{`+at+`}}}}}}`)
		w.Inject(device, emulator.Disabled, emulator.Params{})
		if err := w.SendCommand(device, "wake", nil); err != nil {
			t.Fatal(err)
		}
		shown = w.want(200, "GET", "/system/iothub/devices/dev1/get-twin", "")
		if number := fmt.Sprint(shown["cloudToDeviceMessageCount"]); number != "1" {
			t.Errorf("%s messages are pending", number)
		}
		if shown["status"] != "disabled" || shown["connectionState"] != "Disconnected" {
			t.Errorf("disabled: %v, %v", shown["status"], shown["connectionState"])
		}
	})
}
