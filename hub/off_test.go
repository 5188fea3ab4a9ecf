package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
)

// A hub that has kept the subscriptions of an earlier run sends all kinds.
func TestKindsThatAreSwitchedOffAreNotHandled(t *testing.T) {
	for off, want := range map[Kinds]string{
		Commands:           "method desired",
		Methods:            "command desired",
		Desired:            "command method",
		Commands | Desired: "method",
	} {
		var command, method, desired atomic.Bool
		s := Settings{Off: off | Reported}
		s.Handlers.Command = func(context.Context, payloads.Message) error { command.Store(true); return nil }
		s.Handlers.Method = func(context.Context, string, json.RawMessage) (int, any, error) {
			method.Store(true)
			return 200, nil, nil
		}
		s.Handlers.Desired = func(context.Context, payloads.PropertyName, json.RawMessage) (PropertyAck, error) {
			desired.Store(true)
			return PropertyAck{}, nil
		}
		bubble(t, s, func(t *testing.T, w *world) {
			w.connect(w.twinHub(holding(`"$version":1`), nil))
			topic := strings.TrimSuffix(commandFilter, "#") + "%24.mid=m1"
			w.session.send(topic, "x")
			w.call("1", "f", "{}")
			w.patch(2, `{"a":1}`)
			time.Sleep(time.Minute)
			var handled []string
			for _, kind := range []struct {
				name string
				is   *atomic.Bool
			}{{"command", &command}, {"method", &method}, {"desired", &desired}} {
				if kind.is.Load() {
					handled = append(handled, kind.name)
				}
			}
			w.want("handled", strings.Join(handled, " "), want)
			if acked := strings.Contains(strings.Join(w.session.acked(), " "), topic); acked != command.Load() {
				t.Errorf("%b: the command was completed: %t", off, acked)
			}
			if answered := len(w.answers()) > 0; answered != method.Load() {
				t.Errorf("%b: the method was answered: %t", off, answered)
			}
			if r := w.recorded(observe.Warning); len(r) > 0 {
				t.Errorf("%b: recorded %q", off, r)
			}
		})
	}
}

func TestWhatAnEarlierRunHasLeftStaysInTheFileWhileItsKindIsSwitchedOff(t *testing.T) {
	const report, ack = `{"r":1}`, `{"a":{"value":1,"ac":200,"av":1,"ad":null}}`
	for off, want := range map[Kinds]struct{ sent, left string }{
		0:                  {`{"a":{"value":1,"ac":200,"av":1,"ad":null},"r":1}`, ""},
		Reported:           {ack, report},
		Desired:            {report, ack},
		Reported | Desired: {"", `{"a":{"value":1,"ac":200,"av":1,"ad":null},"r":1}`},
	} {
		file := filepath.Join(t.TempDir(), "twin.json")
		first := newReporter(t, Settings{TwinFile: statefile.At(file)})
		first.report(report)
		first.twin.reported.acknowledge(ackOf("", "a", `1`, 1))
		first.End()
		var sent []string
		s := Settings{Off: off | Methods, TwinFile: statefile.At(file)}
		bubble(t, s, func(t *testing.T, w *world) {
			w.connect(w.twinHub(holding(`"$version":1`), func(_ int, patch string) answer {
				sent = append(sent, patch)
				return answer{status: "204"}
			}))
			time.Sleep(time.Minute)
			_ = w.Flush(t.Context())
			wantLeft := strings.Count(want.left, `"r"`) + strings.Count(want.left, `"a"`)
			if n, kept := w.End(); n != wantLeft || !kept {
				t.Errorf("%b: %d are unconfirmed, kept: %t", off, n, kept)
			}
		})
		if got := fmt.Sprint(sent); got != "["+want.sent+"]" {
			t.Errorf("%b: sent %s", off, got)
		}
		if left := after(t, file); left != want.left {
			t.Errorf("%b: the file has %s, want %s", off, left, want.left)
		}
	}
}
