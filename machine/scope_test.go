package machine_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/machine"
)

// At another DPS or in another ID scope the same registration ID may belong to another company.
func TestWhatIsPendingIsNotSentToAnotherScope(t *testing.T) {
	reading := func(t *testing.T, d *machine.Device) {
		if _, err := d.Send(t.Context(), machine.Reading{Body: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	property := func(t *testing.T, d *machine.Device) {
		if err := d.Report(t.Context(), map[string]any{"a": 1}); err != nil {
			t.Fatal(err)
		}
	}
	otherScope := func(s *machine.Settings) { s.Identity.IDScope = "0ne2" }
	otherHost := func(s *machine.Settings) { s.Identity.ProvisioningHost = "dps.other.example" }
	for name, c := range map[string]struct {
		pending func(*testing.T, *machine.Device)
		change  func(*machine.Settings)
		want    string // in the error; "" means that the device starts
	}{
		"a reading, another ID scope": {
			reading, otherScope, `1 pending readings for ID scope "0ne1" at "dps.example"`,
		},
		"a reading, another DPS":       {reading, otherHost, `name ID scope "0ne1" at "dps.other.example"`},
		"a property, another ID scope": {property, otherScope, `pending reported properties for ID scope "0ne1"`},
		"a reading, in memory": {
			reading, func(s *machine.Settings) { otherScope(s); s.Storage.InMemory = true }, "1 pending readings",
		},
		"a reading, another spelling of the host": {
			reading, func(s *machine.Settings) { s.Identity.ProvisioningHost = "DPS.example:8883" }, "",
		},
		"nothing": {func(*testing.T, *machine.Device) {}, otherScope, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d, err := machine.New(idle(dir))
			if err != nil {
				t.Fatal(err)
			}
			c.pending(t, d)
			_ = d.Close(t.Context())
			s := idle(dir)
			c.change(&s)
			d, err = machine.New(s)
			if err == nil {
				_ = d.Close(t.Context())
			}
			switch path := filepath.Join(dir, "scope.json"); {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), "remove "+path)):
				t.Errorf("New returns %v", err)
			case c.want != "": // the operator decides that the new scope may have what is pending
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if d, err = machine.New(s); err != nil {
					t.Fatal(err)
				}
				_ = d.Close(t.Context())
			}
		})
	}
}

func TestANewScopeThatFindsNothingPendingBecomesTheScopeOfTheDirectory(t *testing.T) {
	dir := t.TempDir()
	s := idle(dir)
	s.Identity.IDScope = "0ne2"
	for _, s := range []machine.Settings{idle(dir), s} {
		d, err := machine.New(s)
		if err != nil {
			t.Fatal(err)
		}
		if s.Identity.IDScope == "0ne2" {
			_, err = d.Send(t.Context(), machine.Reading{Body: []byte("1")})
		}
		if err = errors.Join(err, d.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := machine.New(idle(dir)); err == nil || !strings.Contains(err.Error(), `for ID scope "0ne2"`) {
		t.Errorf("New returns %v", err)
	}
}
