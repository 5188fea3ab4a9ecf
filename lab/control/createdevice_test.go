package control_test

import "testing"

const created = "/lizard/v1/devices/dev1"

func TestADeviceIsCreatedWithItsConnectionString(t *testing.T) {
	w := onSockets(t)
	answer := w.want(201, "PUT", created, `{"hub":"B"}`)
	text, err := w.ConnectionString(device, "B")
	if err != nil || answer["connectionString"] != text || answer["hub"] != "B" || answer["deviceId"] != device ||
		len(answer) != 3 {
		t.Errorf("it answers %v, %v", answer, err)
	}
	for _, body := range []string{"", "{}", `{"hub":"B"}`} {
		if again := w.want(200, "PUT", created, body); again["connectionString"] != text {
			t.Errorf("the second time it answers %v", again)
		}
	}
	if w.HubOf(device) != "B" {
		t.Errorf("the device is at hub %q", w.HubOf(device))
	}
}

func TestADeviceThatCannotBeCreatedIsExplained(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	for _, c := range []struct {
		status                 int
		code, path, body, part string
	}{
		{409, "Conflict", created, `{"hub":"B"}`, "dev1 is at hub A"},
		{400, "InvalidParameter", created, `{"hub":"C"}`, "there are A, B"},
		{400, "InvalidBody", created, `{"hubs":"A"}`, "unknown field"},
		{400, "InvalidBody", created, `"A"`, "JSON object"},
		{400, "InvalidParameter", "/lizard/v1/devices/a%3Bb", "", "semicolon"},
		{400, "InvalidParameter", "/lizard/v1/devices/a%20b", "", "not a valid device ID"},
	} {
		w.wantError(c.status, c.code, c.part, "PUT", c.path, c.body)
	}
}
