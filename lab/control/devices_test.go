package control_test

import (
	"bytes"
	"os"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

const devicePath = "/api/devices/dev1"

func TestADeviceIsShownWithItsState(t *testing.T) {
	w := onSockets(t)
	wantJSON(t, w.want(200, "GET", "/api/devices"+version, ""), `{"value":[]}`)
	w.Enroll(device, "")
	shown := w.want(200, "GET", devicePath+version, "")
	enrolled := shown["etag"]
	delete(shown, "etag")
	wantJSON(t, shown,
		`{"id":"dev1","displayName":"dev1","simulated":false,"provisioned":false,"enabled":true,"organizations":[]}`)
	w.newTestDevice()
	shown = w.want(200, "GET", devicePath+version, "")
	if shown["etag"] == enrolled || shown["etag"] == "" {
		t.Errorf("the etag was %v and is %v", enrolled, shown["etag"])
	}
	wantJSON(t, w.want(200, "GET", "/api/devices"+version, "")["value"].([]any)[0], string(jsonOf(shown)))
	delete(shown, "etag")
	wantJSON(t, shown,
		`{"id":"dev1","displayName":"dev1","simulated":false,"provisioned":true,"template":"dtmi:Sample:Failover;1",`+
			`"enabled":true,"organizations":[]}`)
}

func TestADeviceIsCreatedChangedAndDeleted(t *testing.T) {
	w := onSockets(t)
	want := func(shown map[string]any, want string) {
		t.Helper()
		delete(shown, "etag")
		wantJSON(t, shown, want)
	}
	want(w.want(200, "PUT", devicePath+version,
		`{"displayName":"Pump","simulated":true,"organizations":["seattle"],"template":"dtmi:x;1"}`),
		`{"id":"dev1","displayName":"Pump","simulated":true,"provisioned":false,"template":"dtmi:x;1","enabled":true,`+
			`"organizations":["seattle"]}`)
	// The last three members are read-only.
	want(w.want(200, "PATCH", devicePath+version, `{"displayName":"Fan","id":"x","etag":"x","provisioned":true}`),
		`{"id":"dev1","displayName":"Fan","simulated":true,"provisioned":false,"template":"dtmi:x;1","enabled":true,`+
			`"organizations":["seattle"]}`)
	want(w.want(200, "PUT", devicePath+version, `{}`),
		`{"id":"dev1","displayName":"dev1","simulated":false,"provisioned":false,"enabled":true,"organizations":[]}`)
	g := w.newTestDevice()
	w.want(204, "DELETE", devicePath+version, "")
	w.wantError(404, "NotFound", "", "GET", devicePath+version, "")
	w.waitUntil("the device is thrown out", func() bool { return !g.IsConnected() || !w.Connected(device, "A") })
	want(w.want(200, "PUT", devicePath+version, ``),
		`{"id":"dev1","displayName":"dev1","simulated":false,"provisioned":false,"enabled":true,"organizations":[]}`)
	w.wantError(404, "NotFound", "", "GET", devicePath+"/telemetry/temp"+version, "")

	w.wantError(422, "InvalidBody", "is not a valid registration ID", "PUT", "/api/devices/bad."+version, "")
	w.wantError(400, "InvalidBody", "displayName", "PATCH", devicePath+version, `{"displayName":5}`)
	w.wantError(400, "InvalidBody", "organizations", "PUT", devicePath+version, `{"organizations":"a"}`)
	w.wantError(501, "NotImplemented", "Leave $filter out;", "GET", "/api/devices"+version+"&$filter=x", "")
}

// Telemetry from before the deletion does not belong to the new device.
func TestADeletedDeviceLeavesNothingBehind(t *testing.T) {
	w := onSockets(t)
	g := w.newTestDevice()
	g.wait(g.Publish("devices/dev1/messages/events/", 1, false, `{"temp":1}`))
	w.want(201, "POST", devicePath+"/commands/echo"+version, `{"request":1}`)
	w.want(200, "PATCH", devicePath+version, `{"displayName":"Old"}`)
	w.want(204, "DELETE", devicePath+version, "")
	w.Assign(device, "A")
	w.wantError(404, "NotFound", "no value", "GET", devicePath+"/telemetry/temp"+version, "")
	wantJSON(t, w.want(200, "GET", devicePath+"/commands/echo"+version, ""), `{"value":[]}`)
	if name := w.want(200, "GET", devicePath+version, "")["displayName"]; name != device {
		t.Errorf("its name is %v", name)
	}
}

func TestADeviceThatIsNotEnabledIsBlocked(t *testing.T) {
	w := onSockets(t)
	w.Assign("A", "A") // a device with the name of a hub
	for _, id := range []string{device, "A"} {
		w.Assign(id, "A")
		path := "/api/devices/" + id + version
		if on := w.want(200, "PATCH", path, `{"enabled":false}`)["enabled"]; on != false {
			t.Errorf("enabled is %v", on)
		}
		if active := w.ActiveFaults(); len(active) != 1 || active[0].Fault != emulator.Blocked {
			t.Errorf("in force are %+v", active)
		}
		w.want(200, "PATCH", path, `{"displayName":"still blocked"}`)
		if on := w.want(200, "GET", path, "")["enabled"]; on != false {
			t.Errorf("after another change, enabled is %v", on)
		}
		w.Inject("device/"+id, emulator.Disabled, emulator.Params{})
		w.want(200, "PUT", path, `{}`)
		if on := w.want(200, "GET", path, "")["enabled"]; on != true || len(w.ActiveFaults()) > 0 {
			t.Errorf("enabled is %v, in force are %+v", on, w.ActiveFaults())
		}
	}
}

func TestTheCredentialsAreThoseOfTheDevice(t *testing.T) {
	w := onSockets(t)
	w.Enroll(device, "YSBrZXkgb2YgaXRzIG93bg==")
	wantJSON(t, w.want(200, "GET", devicePath+"/credentials"+version, ""), `{"idScope":"`+w.IDScope()+`",
		"symmetricKey":{"primaryKey":"YSBrZXkgb2YgaXRzIG93bg==","secondaryKey":"YSBrZXkgb2YgaXRzIG93bg=="}}`)
}

// The model is copied into this directory, because go:embed cannot use parent directories.
func TestTheSampleModelEqualsTheProjectsModel(t *testing.T) {
	ours, err := os.ReadFile("failover.json")
	if err != nil {
		t.Fatal(err)
	}
	if project, err := os.ReadFile("../../failover.json"); err != nil || !bytes.Equal(ours, project) {
		t.Errorf("they differ; run go generate ./lab/control (%v)", err)
	}
	w := onSockets(t)
	template := w.want(200, "GET", "/api/deviceTemplates/"+model+version, "")
	wantJSON(t, template["capabilityModel"], string(ours))
	delete(template, "capabilityModel")
	wantJSON(t, template,
		`{"@id":"dtmi:Sample:Failover;1","@type":["ModelDefinition","DeviceModel"],"displayName":"Failover"}`)
}

// parts is a model with two components: one with its interface, and one that only references it.
const parts = `{"displayName":"Parts","capabilityModel":{"@type":"Interface","contents":[
	{"@type":["Property","Temperature"],"name":"target","writable":true,"schema":"double"},
	{"@type":"Command","name":"echo"},
	{"@type":"Component","name":"part","schema":{"contents":[
		{"@type":"Property","name":"speed","writable":true},{"@type":"Property","name":"serial"},
		{"@type":"Telemetry","name":"temp"},
		{"@type":"Command","name":"echo"},{"@type":["Command","Initialized"],"name":"later","queueIfOffline":true}]}},
	{"@type":"Component","name":"far","schema":"dtmi:elsewhere;1"}]}}`

// withParts returns a world with a device of that model.
func withParts(t *testing.T) world {
	t.Helper()
	w := onSockets(t)
	w.Assign(device, "A")
	w.want(200, "PUT", "/api/deviceTemplates/dtmi:parts;1"+version, parts)
	w.want(200, "PATCH", devicePath+version, `{"template":"dtmi:parts;1"}`)
	return w
}

func TestATemplateCanBePut(t *testing.T) {
	w := withParts(t)
	var ids []any
	for _, each := range w.want(200, "GET", "/api/deviceTemplates"+version, "")["value"].([]any) {
		ids = append(ids, each.(map[string]any)["@id"])
	}
	wantJSON(t, ids, `["dtmi:Sample:Failover;1","dtmi:parts;1"]`)
	wantJSON(t, w.want(200, "GET", devicePath+"/components"+version, ""), `{"value":[
		{"@type":"Component","name":"far","displayName":"far"},
		{"@type":"Component","name":"part","displayName":"part"}]}`)
	w.wantError(404, "NotFound", "no device template", "GET", "/api/deviceTemplates/dtmi:none;1"+version, "")
	for _, body := range []string{
		"{}", `{"capabilityModel":5}`, `{"capabilityModel":{}}`, `{"capabilityModel":{"contents":{}}}`,
	} {
		w.wantError(422, "InvalidBody", "not an interface", "PUT", "/api/deviceTemplates/dtmi:x;1"+version, body)
	}
	w.wantError(422, "InvalidBody", "dtmi:", "PUT", "/api/deviceTemplates/x"+version, parts)
}

func TestATemplateIsChangedByAMergePatch(t *testing.T) {
	w := withParts(t)
	path := "/api/deviceTemplates/dtmi:parts;1" + version
	before := w.want(200, "GET", path, "")
	changed := w.want(200, "PATCH", path, `{"displayName":"More parts"}`)
	if changed["displayName"] != "More parts" {
		t.Errorf("its name is %v", changed["displayName"])
	}
	wantJSON(t, changed["capabilityModel"], string(jsonOf(before["capabilityModel"])))
	wantJSON(t, w.want(200, "PATCH", path, `{"capabilityModel":{"@type":null,"contents":[
		{"@type":"Property","name":"target"},{"@type":"Component","name":"part","schema":{"contents":[]}}]}}`),
		`{"@id":"dtmi:parts;1","@type":["ModelDefinition","DeviceModel"],"displayName":"More parts","capabilityModel":{
			"contents":[{"@type":"Property","name":"target"},
			{"@type":"Component","name":"part","schema":{"contents":[]}}]}}`)
	w.wantError(422, "InvalidBody", "read-only", "PATCH", propertiesPath, `{"target":1}`) // it was writable before
	w.wantError(404, "NotFound", "no device template", "PATCH", "/api/deviceTemplates/dtmi:x;1"+version, "{}")
	for _, body := range []string{`{"capabilityModel":null}`, `{"capabilityModel":{"contents":null}}`,
		`{"displayName":5}`} {
		w.wantError(422, "InvalidBody", "", "PATCH", path, body)
	}
}

func TestADeviceOfADeletedTemplateMayHaveAnyCapability(t *testing.T) {
	w := withParts(t)
	path := "/api/deviceTemplates/dtmi:parts;1" + version
	w.wantError(422, "InvalidBody", "has no", "PATCH", propertiesPath, `{"anything":1}`)
	w.want(204, "DELETE", path, "")
	w.wantError(404, "NotFound", "no device template", "DELETE", path, "")
	w.want(200, "PATCH", propertiesPath, `{"anything":1}`)
}
