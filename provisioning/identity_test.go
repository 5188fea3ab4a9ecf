package provisioning_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/settings"
)

func TestAnIdentityHasDefaults(t *testing.T) {
	got := provisioning.Identity{}.WithDefaults()
	if got.ProvisioningHost != "global.azure-devices-provisioning.net" || got.ModelKey != "modelId" ||
		got.IDScope+got.RegistrationID+got.ModelID != "" || got.Key != nil {
		t.Errorf("got %+v", got)
	}
	given := provisioning.Identity{ProvisioningHost: "example.com", ModelKey: "iotcModelId"}.WithDefaults()
	if given.ProvisioningHost != "example.com" || given.ModelKey != "iotcModelId" {
		t.Errorf("got %+v", given)
	}
}

func TestEachWrongFieldOfAnIdentityIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*identity)
		field  string
		says   string
	}{
		"nothing":            {func(*identity) {}, "", ""},
		"no host":            {func(i *identity) { i.ProvisioningHost = "" }, "", ""},
		"a host with a port": {func(i *identity) { i.ProvisioningHost = "example.com:8883" }, "", ""},
		"a URL for the host": {
			func(i *identity) { i.ProvisioningHost = "https://a.b" }, "ProvisioningHost", "https://a.b",
		},
		"no scope":            {func(i *identity) { i.IDScope = "" }, "IDScope", "is missing"},
		"a scope with spaces": {func(i *identity) { i.IDScope = "0ne 1" }, "IDScope", `"0ne 1"`},
		"a path for a scope":  {func(i *identity) { i.IDScope = "0ne1/x" }, "IDScope", `"0ne1/x"`},
		"no registration ID":  {func(i *identity) { i.RegistrationID = "" }, "RegistrationID", "is missing"},
		"a wrong one":         {func(i *identity) { i.RegistrationID = "dev 1" }, "RegistrationID", "only letters"},
		"no key":              {func(i *identity) { i.Key = nil }, "Key", "is missing"},
		"another model key":   {func(i *identity) { i.ModelKey = "model" }, "ModelKey", "modelId or iotcModelId"},
		"Central's model key": {func(i *identity) { i.ModelKey = "iotcModelId" }, "", ""},
	} {
		i := theDevice
		i.Key = key
		c.change(&i)
		err := i.Check()
		var fields []string
		for _, e := range settings.All(err) {
			fields = append(fields, e.Field)
		}
		if got := strings.Join(fields, ", "); got != c.field || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v; want %q", name, err, c.field)
		}
	}
	var fields []string
	for _, e := range settings.All(provisioning.Identity{}.Check()) {
		fields = append(fields, e.Field)
	}
	if want := []string{"IDScope", "RegistrationID", "Key"}; !slices.Equal(fields, want) {
		t.Errorf("of an empty identity %q are wrong, want %q", fields, want)
	}
}

func TestTheModelIsThePayloadUnlessThereIsAnother(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*request)
		want   string
	}{
		"no model": {func(r *request) { r.ModelID = "" }, ""},
		"a model": {func(r *request) { r.ModelID = "dtmi:a;1" },
			`,"payload":{"modelId":"dtmi:a;1"}`},
		"an older model key": {func(r *request) { r.ModelID, r.ModelKey = "dtmi:a;1", "iotcModelId" },
			`,"payload":{"iotcModelId":"dtmi:a;1"}`},
		"a payload of its own": {func(r *request) { r.Payload = "text" }, `,"payload":"text"`},
	} {
		inBubble(t, func(c *conn, q question) { c.answer(200, q.rid, "", assigned) }, func(d *dps) {
			r := d.request()
			c.change(&r)
			if _, err := provisioning.Register(d.Context(), r); err != nil {
				d.Error(err)
			}
			if got, want := d.questions()[0].body, `{"registrationId":"dev1"`+c.want+"}"; got != want {
				d.Errorf("%s: sent %s, want %s", name, got, want)
			}
		})
	}
}
