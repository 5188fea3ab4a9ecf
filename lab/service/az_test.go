package service_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// A recorded is a request that az has sent, with the status of its answer and members that the answer
// has. In its texts, HUB-B is the host of hub B, and PRIMARY and SECONDARY are keys. The requests were
// recorded from azure-cli 2.60.0 with the extension azure-iot 0.25.0. The emulator answers them in this
// order.
type recorded struct {
	Command, Method, Path string
	Headers               map[string]string
	Body                  json.RawMessage
	Status                int
	Want                  json.RawMessage
}

func TestRecordedRequestsOfAzIoTHubAreAnswered(t *testing.T) {
	onSockets(t).replay("A", "testdata/az-iot-hub.json")
}

func TestRecordedRequestsOfAzIoTDPSAreAnswered(t *testing.T) {
	onSockets(t).replay(dps, "testdata/az-iot-dps.json")
}

// replay sends the requests of a file in their order.
func (w world) replay(endpoint, file string) {
	w.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		w.Fatal(err)
	}
	filled := strings.NewReplacer("HUB-B", w.Hub("B"), "PRIMARY", strings.Repeat("cHJp", 10)+"cA==",
		"SECONDARY", strings.Repeat("c2Vj", 10)+"cw==").Replace(string(text))
	for _, r := range decoded[[]recorded](w, filled) {
		q := w.request(endpoint, r.Method, r.Path, string(r.Body))
		q.Header.Set("Content-Type", "application/json; charset=utf-8")
		for name, value := range r.Headers {
			q.Header.Set(name, value)
		}
		got := w.do(q)
		if got.StatusCode != r.Status {
			w.Errorf("%s: %d, want %d: %s", r.Command, got.StatusCode, r.Status, got.text)
			continue
		}
		if r.Want != nil {
			if lacks := missing(decoded[any](w, string(r.Want)), decoded[any](w, got.text), ""); lacks != "" {
				w.Errorf("%s: the answer lacks %s: %s", r.Command, lacks, got.text)
			}
		}
	}
}

// missing returns the first part of want that got does not have, with its path, or "".
func missing(want, got any, path string) string {
	switch want := want.(type) {
	case map[string]any:
		object, _ := got.(map[string]any)
		for name, value := range want {
			member, there := object[name]
			if !there {
				return path + "." + name
			}
			if m := missing(value, member, path+"."+name); m != "" {
				return m
			}
		}
		return ""
	case []any:
		list, isList := got.([]any)
		if !isList || len(list) != len(want) {
			return fmt.Sprintf("%s with %d items", path, len(want))
		}
		for i := range want {
			if m := missing(want[i], list[i], fmt.Sprintf("%s[%d]", path, i)); m != "" {
				return m
			}
		}
		return ""
	}
	if want != got {
		return fmt.Sprintf("%s: %v", path, want)
	}
	return ""
}
