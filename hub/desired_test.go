package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
)

func wishes(version int64, pairs ...string) payloads.Desired {
	d := payloads.Desired{Version: version}
	for i := 0; i < len(pairs); i += 2 {
		d.Properties = append(d.Properties, payloads.DesiredProperty{Name: pairs[i], Value: json.RawMessage(pairs[i+1])})
	}
	return d
}

// desiredHub is a Hub whose desired handler takes a second and notes what it was given.
func desiredHub() (*Hub, func() []string) {
	var mu sync.Mutex
	var handled []string
	h := New(Settings{
		HandlerTimeout: time.Minute,
		Emit:           func(observe.Record) {},
		Handlers: Handlers{Desired: func(_ context.Context, key string, value json.RawMessage) (Ack, error) {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			handled = append(handled, key+"="+string(value))
			return Ack{}, nil
		}},
	})
	return h, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, handled...)
	}
}

func TestAPropertyThatChangesFasterThanItsHandlerEndsAtTheNewestValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		for i := range 5 {
			h.twin.desired.change(wishes(int64(i+1), "a", fmt.Sprint(i)))
		}
		time.Sleep(time.Minute)
		if got := fmt.Sprint(handled()); got != "[a=0 a=4]" {
			t.Errorf("handled %s", got)
		}
		patch, _ := json.Marshal(h.twin.reports.take())
		if string(patch) != `{"a":{"ac":200,"av":5,"value":4}}` {
			t.Errorf("acknowledged %s", patch)
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
			d.Properties = append(d.Properties, wishes(1, fmt.Sprint("p", i), "1").Properties...)
		}
		h.twin.desired.change(d)
		for len(handled()) < 200 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		h.Close(t.Context())
	})
}

func TestAWholeTwinIsComparedByValueAndAPatchIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, handled := desiredHub()
		settle := func() string { time.Sleep(time.Minute); return fmt.Sprint(handled()) }
		h.twin.desired.reconcile(wishes(9, "a", "1", "b", "1"))
		if got := settle(); len(handled()) != 2 {
			t.Fatalf("handled %s", got)
		}
		h.twin.desired.reconcile(wishes(2, "a", "1", "b", "2")) // another hub, a lower version
		if got := settle(); len(handled()) != 3 || handled()[2] != "b=2" {
			t.Errorf("handled %s", got)
		}
		h.twin.desired.change(wishes(3, "a", "1")) // somebody wishes the same again, and waits for the answer
		if got := settle(); len(handled()) != 4 || handled()[3] != "a=1" {
			t.Errorf("handled %s", got)
		}
		h.Close(t.Context())
	})
}
