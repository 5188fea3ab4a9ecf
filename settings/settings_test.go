package settings_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"giantlizard.example/failover/settings"
)

func TestErrorNamesTheFieldWithItsGroup(t *testing.T) {
	inner := errors.Join(settings.Wrong("Window", "is %d: at most %d", 20_000, 10_000),
		settings.Wrong("DrainRate", "is negative"))
	err := fmt.Errorf("machine: settings: %w", settings.In("Delivery", inner))
	const want = "machine: settings: Delivery.Window is 20000: at most 10000\nDelivery.DrainRate is negative"
	if err.Error() != want {
		t.Errorf("the error is %q, want %q", err, want)
	}
	all := settings.All(err)
	if len(all) != 2 || all[0].Field != "Delivery.Window" || all[1].Field != "Delivery.DrainRate" {
		t.Errorf("the fields are %v", all)
	}
}

func TestErrorWithoutAFieldIsPassedOn(t *testing.T) {
	other := errors.New("no such file")
	if got := settings.In("Storage", other); !errors.Is(got, other) {
		t.Errorf("In returned %v", got)
	}
	if settings.In("Storage", nil) != nil {
		t.Error("In made an error of nil")
	}
	if got := settings.All(errors.Join(other, settings.Wrong("Key", "is missing"))); len(got) != 1 ||
		got[0].Field != "Key" {
		t.Errorf("All returned %v", got)
	}
}

func TestDefaultChangesOnlyZeroFields(t *testing.T) {
	given, zero := time.Second, time.Duration(0)
	settings.Default(&given, time.Minute)
	settings.Default(&zero, time.Minute)
	if given != time.Second || zero != time.Minute {
		t.Errorf("the fields are %s and %s", given, zero)
	}
}

func TestDurationIsNeitherNegativeNorTooLong(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "Hold is -1ns: it must not be negative", 0: "", 1: "", settings.MaxDuration: "",
		settings.MaxDuration + 1: "Hold is 87600h0m0.000000001s: at most 87600h0m0s",
	} {
		if err := settings.Duration("Hold", d); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v, want %q", d, err, want)
		}
	}
}

func TestEachDurationOfAStructIsChecked(t *testing.T) {
	err := settings.Durations(struct {
		Hold, Spread time.Duration
		Window       int
		Silence      time.Duration
	}{Hold: -1, Spread: time.Hour, Window: -1, Silence: settings.MaxDuration + 1})
	if all := settings.All(err); len(all) != 2 || all[0].Field != "Hold" || all[1].Field != "Silence" {
		t.Errorf("Durations returned %v", err)
	}
	if err := settings.Durations(struct{ Hold time.Duration }{time.Second}); err != nil {
		t.Errorf("Durations refused a good struct: %v", err)
	}
}
