package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
)

// desiredSection returns desired properties: names and values in turn.
func desiredSection(version int64, pairs ...string) payloads.Desired {
	d := payloads.Desired{Version: version}
	for i := 0; i < len(pairs); i += 2 {
		d.Properties = append(d.Properties,
			payloads.DesiredProperty{Name: pairs[i], Value: json.RawMessage(pairs[i+1])})
	}
	return d
}

// desiredHub returns a Hub whose desired handler takes a second, and a function that returns what the
// handler was given.
func desiredHub() (*Hub, func() []string) {
	var mu sync.Mutex
	var handled []string
	handle := func(_ context.Context, key payloads.PropertyName, value json.RawMessage) (PropertyAck, error) {
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		handled = append(handled, key.String()+"="+string(value))
		return PropertyAck{}, nil
	}
	h := New(Settings{
		Emit:     func(observe.Record) {},
		Handlers: Handlers{Desired: handle},
	})
	return h, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, handled...)
	}
}

func TestPropertyThatChangesFasterThanItsHandlerEndsAtTheNewestValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		for i := range 5 {
			h.twin.desired.applyPatch(desiredSection(int64(i+1), "a", fmt.Sprint(i)))
		}
		time.Sleep(time.Minute)
		if got := fmt.Sprint(handled()); got != "[a=0 a=4]" {
			t.Errorf("handled %s", got)
		}
		if got := text(h.twin.reported.take().patches()); got != `{"a":{"value":4,"ac":200,"av":5,"ad":null}}` {
			t.Errorf("acknowledged %s", got)
		}
		h.Close(t.Context())
	})
}

func TestPropertiesAreHandledAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		begin := time.Now()
		d := payloads.Desired{Version: 1}
		for i := range 200 { // far more than methods may run at once
			d.Properties = append(d.Properties, desiredSection(1, fmt.Sprint("p", i), "1").Properties...)
		}
		h.twin.desired.applyPatch(d)
		for len(handled()) < 200 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		h.Close(t.Context())
	})
}

func TestWholeTwinIsComparedByValueAndPatchIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		settle := func() string { time.Sleep(time.Minute); return fmt.Sprint(handled()) }
		h.twin.desired.applyTwin(desiredSection(9, "a", "1", "b", "1"), nil)
		if got := settle(); len(handled()) != 2 {
			t.Fatalf("handled %s", got)
		}
		h.twin.desired.applyTwin(desiredSection(2, "a", "1", "b", "2"), nil) // another hub, a lower version
		if got := settle(); len(handled()) != 3 || handled()[2] != "b=2" {
			t.Errorf("handled %s", got)
		}
		// Somebody sets the same value again, and waits for the acknowledgement.
		h.twin.desired.applyPatch(desiredSection(3, "a", "1"))
		if got := settle(); len(handled()) != 4 || handled()[3] != "a=1" {
			t.Errorf("handled %s", got)
		}
		h.Close(t.Context())
	})
}

func TestPatchesOfAnObjectWhoseHandlerRunsAreAllInTheNextValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		for i, patch := range []string{`{"a":1}`, `{"b":{"c":1}}`, `{"a":null,"b":{"d":2}}`} {
			h.twin.desired.applyPatch(desiredSection(int64(i+1), "o", patch))
		}
		time.Sleep(time.Minute)
		if got := fmt.Sprint(handled()); got != `[o={"a":1} o={"b":{"c":1,"d":2}}]` {
			t.Errorf("handled %s", got)
		}
		h.Close(t.Context())
	})
}

// No service keeps such values, but a hub may send them.
func TestHandlerGetsAValueUnchangedThatDecodingWouldChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		for i, value := range []string{
			`{"x":1,"x":2}`, `{"x":1,"x":2}`, `{"x":2}`, `{"x":"\ud800"}`, `{"x":"\udc00"}`,
		} {
			if err := h.twin.desired.applyTwin(desiredSection(int64(i+1), "a", value), nil); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
		}
		// The second was not handled again.
		want := []string{`a={"x":1,"x":2}`, `a={"x":2}`, `a={"x":"\ud800"}`, `a={"x":"\udc00"}`}
		if got := handled(); !slices.Equal(got, want) {
			t.Errorf("handled %q, want %q", got, want)
		}
		if err := h.twin.desired.applyPatch(desiredSection(9, "b", "1", "a", `{"y":1}`)); err == nil {
			t.Error("a part was merged into what would be changed by that")
		}
		time.Sleep(time.Minute)
		if got := handled(); !slices.Equal(got, append(want, "b=1")) {
			t.Errorf("handled %q after the patch", got)
		}
		h.Close(t.Context())
	})
}

func TestPropertyWithoutANameIsHandledOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		h.twin.desired.applyPatch(desiredSection(1, "a", "1"))
		time.Sleep(time.Minute)
		h.twin.desired.applyPatch(desiredSection(2, "", "null"))
		time.Sleep(time.Minute)
		if got := fmt.Sprint(handled()); got != `[a=1 =null]` {
			t.Errorf("handled %s", got)
		}
		h.Close(t.Context())
	})
}

// A hub may have its twin from another one, with or without the acknowledgements, whose versions mean
// nothing here.
func TestAcknowledgementIsSentAgainOnlyToAHubThatLacksIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		a := payloads.PropertyName{Name: "a"}
		h.twin.desired.applyPatch(desiredSection(9, "a", "1"))
		time.Sleep(time.Minute)
		// The hub has the acknowledgement of an older value; the newest is pending.
		h.twin.desired.applyTwin(desiredSection(10, "a", "1"), map[payloads.PropertyName]int64{a: 7})
		if got := text(h.twin.reported.take().patches()); got != `{"a":{"value":1,"ac":200,"av":10,"ad":null}}` {
			t.Errorf("pending: %s", got)
		}
		for _, c := range []struct {
			version int64
			acked   map[payloads.PropertyName]int64
			want    string
		}{
			{9, map[payloads.PropertyName]int64{a: 9}, ``},
			{12, map[payloads.PropertyName]int64{a: 9}, ``}, // something else has changed since
			{12, map[payloads.PropertyName]int64{a: 0}, ``}, // the program has reported a value of its own
			{3, map[payloads.PropertyName]int64{a: 9}, `{"a":{"value":1,"ac":200,"av":3,"ad":null}}`},
			{4, map[payloads.PropertyName]int64{{Name: "b"}: 1}, `{"a":{"value":1,"ac":200,"av":4,"ad":null}}`},
		} {
			h.twin.desired.applyTwin(desiredSection(c.version, "a", "1.0"), c.acked)
			if got := text(h.twin.reported.take().patches()); got != c.want {
				t.Errorf("version %d, acknowledged %v: %s", c.version, c.acked, got)
			}
		}
		if len(handled()) != 1 {
			t.Errorf("handled %v", handled())
		}
		h.Close(t.Context())
	})
}

func TestRemovedPropertyIsForgottenWhenItsRemovalIsHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		for i := range 100 {
			h.twin.desired.applyPatch(desiredSection(int64(2*i+1), fmt.Sprint("p", i), "1"))
			h.twin.desired.applyPatch(desiredSection(int64(2*i+2), fmt.Sprint("p", i), "null"))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.twin.desired.known); n > 0 || len(handled()) != 200 {
			t.Errorf("%d are known after %d were handled", n, len(handled()))
		}
		h.Close(t.Context())
	})
}

// A hub that invents names, or parts of an object, must not fill the memory. The whole twin says which
// of them are desired.
func TestDesiredPropertiesAreBoundedAndAWholeTwinMakesRoom(t *testing.T) {
	for name, invented := range map[string]func(i int) (name, value string){
		"names": func(i int) (string, string) { return fmt.Sprintf("%090000d", i), "1" },
		"parts": func(i int) (string, string) { return "object", fmt.Sprintf(`{"%090000d":1}`, i) },
	} {
		synctest.Test(t, func(t *testing.T) {
			h, _ := desiredHub()
			known := func() (bytes int) {
				for key, p := range h.twin.desired.known.all() {
					bytes += len(key.Component) + len(key.Name) + len(p.value)
				}
				return bytes
			}
			refused := 0
			for i := range 15 {
				name, value := invented(i)
				if h.twin.desired.applyPatch(desiredSection(int64(i+1), name, value)) != nil {
					refused++
				}
			}
			time.Sleep(time.Minute)
			if n := known(); n > desiredLimit || n != h.twin.desired.size || refused == 0 {
				t.Errorf("%s: %d bytes are known, %d counted, %d patches refused", name, n, h.twin.desired.size,
					refused)
			}
			for range 2 { // a removed property makes room when its removal has been handled
				_ = h.twin.desired.applyTwin(desiredSection(20, "a", "1"), nil)
				time.Sleep(time.Minute)
			}
			if n := known(); n != len("a")+len("1") || n != h.twin.desired.size {
				t.Errorf("%s: %d bytes are still known, %d counted", name, n, h.twin.desired.size)
			}
			if err := h.twin.desired.applyPatch(desiredSection(21, "b", "1")); err != nil {
				t.Error(err)
			}
			h.Close(t.Context())
		})
	}
}

func TestPendingAcknowledgementsAreBounded(t *testing.T) {
	r := newReported(statefile.File{})
	for i := range acksLimit + 100 {
		r.acknowledge(payloads.AcknowledgedProperty{DesiredProperty: payloads.DesiredProperty{Name: fmt.Sprint("p",
			i)}})
	}
	if n := r.pending.count(); n != acksLimit {
		t.Errorf("%d acknowledgements are pending, want %d", n, acksLimit)
	}
}

func TestRemovalsAndValuesThatDoNotGrowAreAlwaysAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := desiredHub()
		apply := func(wantRefused bool, name, value string) {
			t.Helper()
			if err := h.twin.desired.applyPatch(desiredSection(1, name, value)); (err != nil) != wantRefused {
				t.Errorf("%s = %.20s: %v", name, value, err)
			}
		}
		full := func(c string) string { return `"` + strings.Repeat(c, desiredLimit-len("a1b")-2) + `"` }
		apply(false, "a", "1")
		apply(false, "b", full("x")) // as much as is allowed
		apply(true, "c", "1")
		apply(true, "c", "null")
		apply(false, "a", "null") // longer than the value that it removes
		apply(false, "b", full("y"))
		time.Sleep(time.Minute)
		apply(false, "c", "1")
		time.Sleep(time.Minute)
		h.Close(t.Context())
	})
}
