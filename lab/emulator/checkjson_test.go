package emulator_test

import (
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

func TestJSONThatDecodingWouldChangeIsRefused(t *testing.T) {
	for _, text := range []string{
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `[{"b":{"c":1,"c":2}}]`, `{"a":{"x":1},"a":[]}`, `{"a\ud800":1}`,
		`["\uDC00\uD800"]`,
		`"\ud800\ud800\udc00"`, `"\\\ud800"`, "\"\xff\"", `{"a":1`, `{"a" 1}`, `[1`,
	} {
		if err := emulator.CheckJSON([]byte(text)); err == nil {
			t.Errorf("%s would be kept", text)
		}
	}
	for _, text := range []string{
		`{"a":{"a":[{"a":1},{"a":2}]},"A":1}`, `["a","a",{"b":"b","c":"b"},[],{}]`, `{"a":[],"b":{},"c":1}`,
		`"\ud834\uDD1E"`, `"\\ud800"`, `"\ufffd"`,
		`12345678901234567890`, ` null `,
	} {
		if err := emulator.CheckJSON([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAnOperatorsTextThatIsNotUTF8IsRefused(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Assign(device, "A")
		for _, patch := range []map[string]any{
			{"a\xff": 1, "a\xfe": 2}, {"a": "\xff"}, {"a": []any{map[string]any{"\xff": 1}}},
		} {
			if err := w.SetDesired(device, patch); err == nil {
				desired, _, _, _ := w.Twin(device)
				t.Errorf("%q became %q", patch, desired)
			}
		}
		w.mustConnect(login{hub: "A"}).mustSubscribe("$iothub/methods/POST/#")
		if _, _, err := w.InvokeMethod(t.Context(), device, "m", []byte("\"\xff\"")); err == nil ||
			!strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("a payload that is not UTF-8: %v", err)
		}
	})
}
