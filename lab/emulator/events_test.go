package emulator_test

import (
	"context"
	"errors"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func TestEventsAreDeliveredInOrder(t *testing.T) {
	var texts []string
	var w world
	observe := func(e emulator.Event) {
		texts = append(texts, strings.TrimSpace(e.Hub+" "+string(e.Kind)))
		w.Violations() // an observer may call methods that read
		if e.Kind == emulator.KindTelemetry {
			w.KillHub("A", emulator.RST) // and methods that change
		}
	}
	inBubble(t, emulator.Config{Observe: observe}, func(t *testing.T, the world) {
		w = the
		w.registerDevice(t)
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(bound + "#")
		p.Publish(events, 1, false, "x")
		p.mustLose(time.Second)
		synctest.Wait()
		want := []string{
			"DPS connected", "DPS register", "A assigned", "DPS disconnected",
			"A connected", "A subscribed", "A telemetry", "A lizard", "A disconnected",
		}
		if !slices.Equal(texts, want) {
			t.Errorf("the events are %q\nwant %q", texts, want)
		}
	})
}

func TestWaitEndsWithTheConditionTheContextOrTheCloud(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		time.AfterFunc(time.Hour, func() { w.Assign(device, "B") })
		start := time.Now()
		err := w.Wait(t.Context(), func() bool { return w.HubOf(device) == "B" })
		if err != nil || time.Since(start) != time.Hour {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		never := func() bool { return false }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.Wait(ctx, never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the context: %v", err)
		}
		time.AfterFunc(time.Second, func() { w.Close() })
		if err := w.Wait(t.Context(), never); !errors.Is(err, emulator.ErrClosed) {
			t.Errorf("the end: %v", err)
		}
	})
}

// A goroutine that outlives Close would be a deadlock of the bubble.
func TestCloseEndsABubbleInAnyState(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.network.SetLatency(50 * time.Millisecond)
		w.network.DialContext(t.Context(), "tcp", w.Hub("A")) // without a TLS handshake
		dialTLS(w, w.network.DialContext, w.DPSHost())        // without CONNECT
		p := w.mustConnect(login{hub: "A", manualAck: true})
		p.mustSubscribe(bound + "#")
		w.mustSend("never acknowledged")
		w.mustConnect(login{hub: "B", device: "dev2"})
		go w.InvokeMethod(t.Context(), device, "reboot", nil)
		go w.Wait(t.Context(), func() bool { return false })
		w.KillHub("B", emulator.Refuse)
		w.Close()
		if err := w.ReviveHub("B"); !errors.Is(err, emulator.ErrClosed) {
			t.Errorf("a closed cloud revives a hub: %v", err)
		}
	})
}

func TestOnlyOneFileImportsTheBrokerAndNoneImportsTheDevice(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			switch {
			case strings.Contains(path, "mochi") && file != "broker.go":
				t.Errorf("%s imports the broker", file)
			case strings.HasPrefix(path, "giantlizard.example"):
				t.Errorf("%s imports %s", file, path)
			case path == "testing":
				t.Errorf("%s links the testing package into every binary", file)
			}
		}
	}
}
