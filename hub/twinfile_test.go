package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/statefile"
)

// A reporter is a Hub without a session, with a TwinFile, and its warnings.
type reporter struct {
	*Hub
	t        *testing.T
	warnings chan string
}

func newReporter(t *testing.T, s Settings) reporter {
	t.Helper()
	r := reporter{nil, t, make(chan string, 1000)}
	s.Handlers.Timeout = time.Minute
	s.Emit = func(record observe.Record) { r.warnings <- record.Error }
	r.Hub = New(s)
	t.Cleanup(func() { r.End() })
	return r
}

func (r reporter) report(patch string) {
	r.t.Helper()
	if err := r.Report(r.t.Context(), object(r.t, patch)); err != nil {
		r.t.Error(err)
	}
}

// confirm has a hub confirm what is pending, and returns that.
func (r reporter) confirm() (patches string) {
	sent := text(r.twin.reported.take().patches())
	r.twin.reported.confirmed()
	return sent
}

func (r reporter) wantWarnings(want ...string) {
	r.t.Helper()
	for _, want := range want {
		select {
		case got := <-r.warnings:
			if !strings.Contains(got, want) {
				r.t.Errorf("the warning is %q, want %q", got, want)
			}
		default:
			r.t.Errorf("there is no warning of %q", want)
		}
	}
	if len(r.warnings) > 0 {
		r.t.Errorf("one more warning: %s", <-r.warnings)
	}
}

func contents(path string) string {
	all, _ := os.ReadFile(path) // a missing file is as good as an empty one
	return string(all)
}

// after returns what is pending in a device that starts with a copy of the file, as if this one had
// been killed.
func after(t *testing.T, file string) string {
	t.Helper()
	twin := filepath.Join(t.TempDir(), "twin.json")
	if text := contents(file); text != "" {
		if err := os.WriteFile(twin, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newReporter(t, Settings{TwinFile: statefile.At(twin)})
	r.wantWarnings()
	return text(r.twin.reported.unconfirmed().patches())
}

func TestUnconfirmedReportsArePendingAfterAKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "twin.json")
	r := newReporter(t, Settings{TwinFile: statefile.At(file)})
	for _, patch := range []string{
		`{"a":1,"gone":null,"exact":0.10000000000000000555}`, `{"a":null}`, `{"a":{"<&>":[1,null]},"e":{}}`,
	} {
		r.report(patch)
		if got := after(t, file); got != text(r.twin.reported.unconfirmed().patches()) {
			t.Errorf("after %s: %s", patch, got)
		}
	}
	r.twin.reported.take() // in flight
	r.report(`{"b":2}`)
	r.twin.reported.acknowledge(ackOf("c", "limits", `{"low":1}`, 7))
	r.twin.reported.acknowledge(ackOf("", "b", `3`, 7)) // in the place of what was reported
	r.End()
	want := `{"a":null,"b":null,"c":{"__t":"c","limits":{"value":null}}} | ` +
		`{"a":{"\u003c\u0026\u003e":[1,null]},"b":{"ac":200,"ad":null,"av":7,"value":3},` +
		`"c":{"__t":"c","limits":{"value":{"low":1},"ac":200,"av":7,"ad":null}},` +
		`"e":{},"exact":0.10000000000000000555,"gone":null}`
	if got := after(t, file); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

func TestConfirmedReportsAreRemovedFromTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "twin.json")
	r := newReporter(t, Settings{TwinFile: statefile.At(file)})
	r.report(`{"a":1}`)
	r.twin.reported.take()
	r.report(`{"b":1}`)
	r.twin.reported.confirmed()
	if n, kept := r.End(); n != 1 || !kept || after(t, file) != `{"b":1}` {
		t.Errorf("%d are unconfirmed, kept: %t, in %s", n, kept, contents(file))
	}
	again := newReporter(t, Settings{TwinFile: statefile.At(file)})
	if got := again.confirm(); got != `{"b":1}` {
		t.Errorf("sent %s", got)
	}
	if n, _ := again.End(); n != 0 || contents(file) != "" {
		t.Errorf("%d are unconfirmed, in %s", n, contents(file))
	}
}

func TestReportsAreNeitherAcceptedNorWrittenAfterEnd(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "twin.json")} {
		r := newReporter(t, Settings{TwinFile: statefile.At(path)})
		r.report(`{"a":1}`)
		for range 2 {
			if n, kept := r.End(); n != 1 || kept != (path != "") {
				t.Errorf("%d are unconfirmed, kept: %t", n, kept)
			}
		}
		before := contents(path)
		if err := r.Report(t.Context(), object(t, `{"b":1}`)); err == nil {
			t.Error("a report was accepted after the end")
		}
		r.twin.reported.acknowledge(ackOf("", "x", "1", 1)) // of a handler that hangs
		if got := contents(path); got != before {
			t.Errorf("the file is now %s", got)
		}
	}
}

// A bit is flipped, or the end is missing.
func TestDamagedTwinFileIsSetAsideAndNotSent(t *testing.T) {
	slow.Test(t)
	file := filepath.Join(t.TempDir(), "twin.json")
	r := newReporter(t, Settings{TwinFile: statefile.At(file)})
	r.report(`{"a":null}`)
	r.report(`{"a":{"x":1},"b":"text"}`)
	r.twin.reported.acknowledge(ackOf("c", "limits", `{"low":1}`, 7))
	r.End()
	good := []byte(contents(file))
	damaged := func(bad []byte, what string) {
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		r := newReporter(t, Settings{TwinFile: statefile.At(file)})
		r.wantWarnings("twin.json.damaged")
		if n := r.twin.reported.unconfirmed().count(); n != 0 || contents(file+".damaged") != string(bad) {
			t.Errorf("%s: %d are pending", what, n)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		damaged(bad, fmt.Sprint("byte ", i))
		damaged(good[:i], fmt.Sprint("cut at ", i))
	}
	again := newReporter(t, Settings{TwinFile: statefile.At(file)})
	again.report(`{"a":1}`)
	if got := after(t, file); got != `{"a":1}` {
		t.Errorf("then %s is pending", got)
	}
}

// Their checksums are right, so somebody has made them.
func TestUnusualTwinFilesDoNotPanic(t *testing.T) {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	for name, c := range map[string]struct {
		stored any
		want   string // what is pending; "damaged" means that the file is set aside
	}{
		"a list":        {twinFile{Reported: raw(`[1]`)}, "damaged"},
		"a list first":  {twinFile{First: raw(`"x"`), Reported: raw(`{"a":1}`)}, "damaged"},
		"null":          {twinFile{Reported: raw(`null`)}, ``},
		"first alone":   {twinFile{First: raw(`{"a":null}`)}, `{"a":null}`},
		"no answer":     {map[string]any{"answers": []any{nil}}, `{"":{"value":null,"ac":0,"av":0,"ad":null}}`},
		"another thing": {map[string]any{"epoch": "x"}, "damaged"},
		"a text":        {map[string]any{"answers": "x"}, "damaged"},
		"a null value": {
			map[string]any{"answers": []any{map[string]any{"name": "a", "value": nil}}},
			`{"a":{"value":null,"ac":0,"av":0,"ad":null}}`,
		},
	} {
		file := filepath.Join(t.TempDir(), "twin.json")
		if err := statefile.At(file).Save(c.stored); err != nil {
			t.Fatal(err)
		}
		r := newReporter(t, Settings{TwinFile: statefile.At(file)})
		if c.want == "damaged" {
			c.want = ""
			r.wantWarnings("twin.json.damaged")
		}
		r.wantWarnings()
		if got := text(r.twin.reported.unconfirmed().patches()); got != c.want {
			t.Errorf("%s: %s is pending", name, got)
		}
		r.report(`{"b":{"c":1}}`)
		r.confirm()
	}
}

// A hub may desire any number of values in any shape. Reports must be kept nevertheless.
func TestTwinFileIsBoundedWhateverTheHubDesires(t *testing.T) {
	file := filepath.Join(t.TempDir(), "twin.json")
	r := newReporter(t, Settings{TwinFile: statefile.At(file)})
	deep := strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000)
	for i := range 300 {
		a := ackOf("", fmt.Sprintf("p%03d", i), fmt.Sprintf(`"%04000d"`, i), 7)
		a.DesiredProperty.Value = json.RawMessage(deep)
		r.twin.reported.acknowledge(a)
	}
	full := map[string]any{}
	for i := range 8 {
		full[fmt.Sprint(i)] = strings.Repeat("\u20ac", 1300)
	}
	if err := r.Report(t.Context(), full); err != nil {
		t.Error(err)
	}
	r.End()
	r.wantWarnings()
	if n := len(contents(file)); n > 512<<10 {
		t.Errorf("a file of %d bytes", n)
	}
	got := after(t, file)
	if !strings.Contains(got, `"7":"€€`) || !strings.Contains(got, `"p000"`) || strings.Contains(got, `"p299"`) {
		t.Errorf("%d bytes are pending: %.80s", len(got), got)
	}
}

func TestAcknowledgementsOfAComponentAndOfANameWithAStarAreBothKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "twin.json")
	before := newReporter(t, Settings{TwinFile: statefile.At(file)})
	before.twin.reported.acknowledge(ackOf("c", "x", "1", 1))
	before.twin.reported.acknowledge(ackOf("", "c*x", "2", 1))
	before.End()
	want := `{"c":{"__t":"c","x":{"value":1,"ac":200,"av":1,"ad":null}},"c*x":{"value":2,"ac":200,"av":1,"ad":null}}`
	if got := newReporter(t, Settings{TwinFile: statefile.At(file)}).confirm(); got != want {
		t.Errorf("pending after the restart:\n%s, want\n%s", got, want)
	}
}

// After a restart the handler is called again. Until it returns, the pending acknowledgement is of use,
// with the version of the hub that gets it.
func TestAcknowledgementFromBeforeARestartGetsTheNewVersionOfItsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "twin.json")
		called := 0
		before := newReporter(t, Settings{TwinFile: statefile.At(file), Handlers: silent(&called)})
		_ = before.twin.desired.applyTwin(desiredSection(50, "same", `{"a":1}`, "other", "1", "gone", "1"), nil)
		synctest.Wait()
		before.End()
		again := newReporter(t, Settings{TwinFile: statefile.At(file), Handlers: Handlers{Desired: hangs}})
		_ = again.twin.desired.applyTwin(desiredSection(3, "same", `{"a":1.0}`, "other", "2"), nil)
		synctest.Wait()
		want := `{"same":{"value":null}} | {"gone":{"value":1,"ac":200,"av":50,"ad":null},` +
			`"other":{"value":1,"ac":200,"av":50,"ad":null},"same":{"value":{"a":1},"ac":200,"av":3,"ad":null}}`
		if got := again.confirm(); got != want || called != 3 {
			t.Errorf("called %d times; pending:\n%s, want\n%s", called, got, want)
		}
		again.Close(t.Context())
		before.Close(t.Context())
		again.End()
	})
}

func TestAcknowledgementsAreStoredUpToTheirRoomExactly(t *testing.T) {
	for extra, want := range []int{2, 1} {
		b := batch{}
		for _, name := range []string{"a", "b"} {
			a := ackOf("c", name, "1", 1)
			a.Description, a.DesiredProperty.Value = "text", json.RawMessage("12")
			used := len("c") + len(name) + len("12") + len("1") + len("text")
			if name == "b" {
				a.Description = strings.Repeat("x", acksRoom-2*used+len("text")+extra)
			}
			b.acknowledge(a)
		}
		if got := len(b.stored().Acks); got != want {
			t.Errorf("with %d bytes too many, %d acknowledgements are stored, want %d", extra, got, want)
		}
	}
}
