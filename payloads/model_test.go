package payloads

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"
)

type payload struct{ Name, Schema string }

type content struct {
	Type              string `json:"@type"`
	Name, Schema      string
	DisplayName       string
	Writable, Durable bool
	Request, Response *payload
}

func TestModelDescribesWhatTheSensorDoes(t *testing.T) {
	file, err := os.ReadFile("../failover.json")
	if err != nil {
		t.Fatal(err)
	}
	var model struct {
		Context  []string `json:"@context"`
		ID       string   `json:"@id"`
		Type     string   `json:"@type"`
		Contents []content
	}
	if err := json.Unmarshal(file, &model); err != nil {
		t.Fatal(err)
	}
	if model.ID != "dtmi:Sample:Failover;1" || model.Type != "Interface" {
		t.Errorf("%s %s", model.Type, model.ID)
	}
	if len(model.Context) == 0 || model.Context[0] != "dtmi:dtdl:context;2" {
		t.Errorf("DTDL's own context must be the first of %v", model.Context)
	}
	got := map[string]string{}
	for _, c := range model.Contents {
		if !regexp.MustCompile(`^[a-zA-Z](\w{0,62}[a-zA-Z0-9])?$`).MatchString(c.Name) || c.DisplayName == "" ||
			got[c.Name] != "" {
			t.Errorf("%q: a name DTDL refuses, one that is used twice, or no display name", c.Name)
		}
		got[c.Name] = c.String()
	}
	for name, want := range map[string]string{
		"temp":     "Telemetry double",
		"humidity": "Telemetry double",
		"battery":  "Property double",
		"fanSpeed": "writable Property integer",
		"echo":     "Command string -> string",
		"setAlarm": "durable Command time",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("more than the device does: %v", got)
	}
}

func (c content) String() string {
	s := c.Type
	if c.Writable {
		s = "writable " + s
	}
	if c.Durable {
		s = "durable " + s
	}
	if c.Schema != "" {
		s += " " + c.Schema
	}
	if c.Request != nil {
		s += " " + c.Request.Schema
	}
	if c.Response != nil {
		s += " -> " + c.Response.Schema
	}
	return s
}
