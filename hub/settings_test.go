package hub

import (
	"math"
	"testing"
	"time"

	"giantlizard.example/failover/settings"
)

func TestDeliverySettingsThatCannotBeUsedAreNamed(t *testing.T) {
	for _, good := range []Delivery{
		{}, {Window: 1, DrainRate: 0.001, AckTimeout: 1},
		{Window: 10_000, DrainRate: 1e9, Unpaced: true, InOrder: true},
	} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, c := range []struct {
		d    Delivery
		want string
	}{
		{Delivery{Window: -1}, "Window is -1: at least 1, at most 10000"},
		{Delivery{Window: 10_001}, "Window is 10001: at least 1, at most 10000"},
		{Delivery{DrainRate: -1}, "DrainRate is -1 a second: at least 0.001"},
		{Delivery{DrainRate: 0.0009}, "DrainRate is 0.0009 a second: at least 0.001"},
		{Delivery{DrainRate: math.NaN()}, "DrainRate is NaN a second: at least 0.001"},
		{Delivery{DrainRate: math.Inf(1)}, "DrainRate is +Inf a second: at least 0.001"},
		{Delivery{AckTimeout: -1}, "AckTimeout is -1ns: it must not be negative"},
		{Delivery{Window: -1, AckTimeout: -1}, "Window is -1: at least 1, at most 10000\n" +
			"AckTimeout is -1ns: it must not be negative"},
	} {
		if err := c.d.Check(); err == nil || err.Error() != c.want || len(settings.All(err)) == 0 {
			t.Errorf("%+v: %v, want %s", c.d, err, c.want)
		}
	}
}

func TestZeroSettingsHaveTheirDefaults(t *testing.T) {
	want := Delivery{Window: 64, DrainRate: 10, AckTimeout: time.Minute}
	if got := (Delivery{}).WithDefaults(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	set := Delivery{Window: 1, DrainRate: 2, Unpaced: true, InOrder: true, AckTimeout: time.Second}
	if got := set.WithDefaults(); got != set {
		t.Errorf("got %+v, want %+v", got, set)
	}
	if got := (Handlers{}).WithDefaults().Timeout; got != 30*time.Second {
		t.Errorf("a handler has %s", got)
	}
	if got := (Handlers{Timeout: 1}).WithDefaults().Timeout; got != 1 {
		t.Errorf("a handler has %s", got)
	}
	if err := (Handlers{Timeout: -1}).Check(); err == nil || err.Error() != "Timeout is -1ns: it must not be negative" {
		t.Errorf("a negative timeout: %v", err)
	}
	if err := (Handlers{}).Check(); err != nil {
		t.Error(err)
	}
}
