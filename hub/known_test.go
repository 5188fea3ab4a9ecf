package hub

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
)

// A twin has one place for a name, so the handler learns at once that what was there is gone.
func TestRemovalIsHandledOfWhatAPropertyDisplaces(t *testing.T) {
	const component, twoOfThem = `{"a":{"__t":"c","b":1}}`, `{"a":{"__t":"c","b":1,"c":2}}`
	for name, c := range map[string]struct {
		before, patch, want, acked string
	}{
		"a component becomes a value": {twoOfThem, `{"a":5}`, "a*b=null a*c=null a=5", ack("a", "5", 3)},
		"a value becomes a component": {`{"a":5}`, twoOfThem, "a*b=1 a*c=2 a=null",
			`{"a":{"__t":"c","b":{"value":1,"ac":200,"av":3,"ad":null},"c":{"value":2,"ac":200,"av":3,"ad":null}}}`},
		"a component is removed": {component, `{"a":null}`, "a*b=null",
			`{"a":{"__t":"c","b":{"value":null,"ac":200,"av":3,"ad":null}}}`},
		"a component changes": {component, `{"a":{"b":2}}`, "a*b=2",
			`{"a":{"__t":"c","b":{"value":2,"ac":200,"av":3,"ad":null}}}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, handled := desiredHub()
			apply := func(version int64, patch string) {
				d, err := payloads.ParseDesired(fmt.Sprint(payloads.DesiredPrefix, "?$version=", version),
					[]byte(patch))
				if err == nil {
					err = h.twin.desired.applyPatch(d)
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				time.Sleep(time.Minute)
			}
			apply(2, c.before)
			before := len(handled())
			h.twin.reported.take()
			apply(3, c.patch)
			got := handled()[before:]
			slices.Sort(got)
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("%s: handled %s, want %s", name, got, c.want)
			}
			if got := text(h.twin.reported.take().patches()); got != c.acked {
				t.Errorf("%s: acknowledged %s, want %s", name, got, c.acked)
			}
			h.Close(t.Context())
		})
	}
}

func TestPatchOfManyObjectsIsMergedInLinearTime(t *testing.T) {
	h := New(Settings{Emit: func(observe.Record) {}})
	var pairs []string
	for i := range 9000 { // as many as fit into 32 KB
		pairs = append(pairs, fmt.Sprintf("%03x", i), "{}")
	}
	patch := desiredSection(2, pairs...)
	if err := h.twin.desired.applyPatch(patch); err != nil {
		t.Error(err)
	}
	began := time.Now()
	if all, err := h.twin.desired.merge(patch.Properties); len(all) != 9000 || err != nil {
		t.Errorf("%d properties, %v", len(all), err)
	}
	if took := time.Since(began); took > 5*time.Second { // in quadratic time half a minute
		t.Errorf("merging took %s", took)
	}
	h.Close(t.Context())
}
