package emulator_test

import (
	"maps"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

func TestAMessageIsStoredBeforeItsPUBACK(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustPublish(events+"%24.mid=1-1&%24.ct=application%2Fjson&note=a%20b%2Bc%26d%3De", `{"t":1}`)
		ledger := w.Ledger()
		if len(ledger) != 1 {
			t.Fatalf("%d messages", len(ledger))
		}
		got := ledger[0]
		want := map[string]string{"$.mid": "1-1", "$.ct": "application/json", "note": "a b+c&d=e"}
		if got.Device != device || got.Hub != "A" || got.MessageID != "1-1" || string(got.Body) != `{"t":1}` ||
			!maps.Equal(got.Properties, want) {
			t.Errorf("stored %+v", got)
		}
		if got.Received.IsZero() || got.Duplicate {
			t.Errorf("received %v, duplicate %t", got.Received, got.Duplicate)
		}
		w.wantNoViolation()
	})
}

// Microsoft's SDK for Embedded C writes a question mark before the properties.
func TestAPropertyBagMayFollowAQuestionMark(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustPublish(events+"?%24.mid=1-1&a=b", "1")
		got := w.Ledger()[0]
		if want := map[string]string{"$.mid": "1-1", "a": "b"}; got.MessageID != "1-1" ||
			!maps.Equal(got.Properties, want) {
			t.Errorf("stored %+v", got)
		}
		w.wantNoViolation()
	})
}

func TestARepeatedMessageIDIsADuplicateOnAnyHub(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.mustPublish(events+"$.mid=1", "x")
		p.mustPublish(events+"$.mid=2", "x")
		p.mustPublish(events, "without an ID")
		p.mustPublish(events, "without an ID")
		w.MoveDevice(device, "B")
		p = w.mustConnect(login{hub: "B"})
		p.mustPublish(events+"$.mid=1", "x")
		var duplicates []bool
		for _, d := range w.Ledger() {
			duplicates = append(duplicates, d.Duplicate)
		}
		if len(duplicates) != 5 || duplicates[0] || duplicates[1] || duplicates[3] || !duplicates[4] {
			t.Errorf("duplicates: %t", duplicates)
		}
	})
}

func TestRetainBecomesAProperty(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.Publish(events, 1, true, "x").Wait()
		if got := w.Ledger()[0].Properties["mqtt-retain"]; got != "true" {
			t.Errorf("mqtt-retain is %q", got)
		}
	})
}

func TestQoS0IsStoredToo(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		p.Publish(events, 0, false, "x")
		if err := w.Wait(t.Context(), func() bool { return len(w.Ledger()) == 1 }); err != nil {
			t.Error(err)
		}
	})
}

func TestTelemetryOfExactly256KBIsStored(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		p := w.mustConnect(login{hub: "A"})
		// The value of the message ID counts 3 and its name nothing. Name and value of the other
		// property count 2.
		p.mustPublish(events+"$.mid=123&a=b", string(make([]byte, 256<<10-5)))
		w.wantNoViolation()
	})
}
