package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
	"giantlizard.example/failover/transport"
)

// message returns a cloud-to-device message as a session delivers it.
func message(id, body string) transport.Message {
	topic := "devices/dev1/messages/devicebound/"
	if id != "" {
		topic += "%24.mid=" + id
	}
	return transport.Message{Topic: topic, Payload: []byte(body)}
}

// commanded returns a Hub without a session, whose command handler is handle, and its records.
func commanded(
	t *testing.T, file string, handle func(context.Context, payloads.Message) error,
) (*Hub, chan observe.Record) {
	t.Helper()
	records := make(chan observe.Record, 1000)
	h := New(Settings{
		Handlers: Handlers{Command: handle}, CompletedFile: statefile.At(file),
		Emit: func(r observe.Record) { records <- r },
	})
	if err := h.completed.load(); err != nil {
		t.Error(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		h.End()
	})
	return h, records
}

func wantRecords(t *testing.T, records chan observe.Record, want ...string) {
	t.Helper()
	for _, want := range want {
		r := <-records
		if got := fmt.Sprint(r.Kind, " ", r.ID, " ", r.Status); got != want {
			t.Errorf("the record is %s (%s), want %s", got, r.Error, want)
		}
	}
	if len(records) > 0 {
		t.Errorf("one more record: %+v", <-records)
	}
}

func TestMessageIsHandledOnceHoweverOftenItIsDelivered(t *testing.T) {
	calls := 0
	h, records := commanded(t, "", func(context.Context, payloads.Message) error { calls++; return nil })
	h.commands.receive("dev1", message("m1", "x"))
	wantRecords(t, records, "handled m1 200")
	for range 3 {
		h.commands.receive("dev1", message("m1", "x"))
		wantRecords(t, records, "handled m1 208")
	}
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

func TestMessageWithAnUnreadablePropertyIsHandledAndCompleted(t *testing.T) {
	for query, named := range map[string]string{
		"?%24.mid=m1&method-name=stop":          "",
		"%24.mid=m1&method-name=stop&note=100%": `"note=100%"`,
		"=x&%24.mid=m1&method-name=stop":        `"=x"`,
		"%24.mid=m1&method-name=%2Astop":        `"*stop"`,
	} {
		var got []payloads.Message
		h, records := commanded(t, "",
			func(_ context.Context, m payloads.Message) error { got = append(got, m); return nil })
		for range 2 { // the second time it is a delivery of the same message
			topic := "devices/dev1/messages/devicebound/" + query
			h.commands.receive("dev1", transport.Message{Topic: topic, Payload: []byte("@")})
			r := <-records
			if r.Kind == observe.Warning {
				if named == "" || !strings.Contains(r.Error, named) {
					t.Errorf("%q: the warning is %s", query, r.Error)
				}
				named = "" // once
				r = <-records
			}
			if r.Kind != observe.Handled || r.ID != "m1" {
				t.Errorf("%q: the record is %+v", query, r)
			}
		}
		if named != "" {
			t.Errorf("%q: no property is named", query)
		}
		if len(got) != 1 || !strings.HasSuffix(got[0].Name, "stop") {
			t.Errorf("%q: handled %+v", query, got)
		}
	}
}

func TestMessagesThatDifferOrHaveNoIDAreAllHandled(t *testing.T) {
	h, records := commanded(t, "", func(context.Context, payloads.Message) error { return nil })
	other := message("one", "x")
	other.Topic += "&method-name=stop"
	shifted := message("one", "1x") // topic and body together are those of message("one1", "x")
	for _, m := range []transport.Message{
		message("one", "x"), message("one", "y"), other, message("one1", "x"), shifted,
	} {
		h.commands.receive("dev1", m)
		if r := <-records; r.Status != 200 {
			t.Errorf("%s %s: %+v", m.Topic, m.Payload, r)
		}
	}
	for range 3 {
		h.commands.receive("dev1", message("", "x"))
		wantRecords(t, records, "handled  200")
	}
}

func TestMessageThatIsDeliveredWhileItsHandlerRunsIsCompletedWithTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fails := range []bool{false, true} {
			calls, results := make(chan bool), make(chan error)
			h, records := commanded(t, "",
				func(context.Context, payloads.Message) error { calls <- true; return <-results })
			h.commands.receive("dev1", message("m1", "x"))
			<-calls
			h.commands.receive("dev1", message("m1", "x"))
			h.commands.receive("dev1", message("m1", "x"))
			if !fails {
				results <- nil
				wantRecords(t, records, "handled m1 200", "handled m1 208", "handled m1 208")
				continue
			}
			results <- errors.New("not now")
			if r := <-records; r.Status != 500 || r.Error != "not now" {
				t.Errorf("%+v", r)
			}
			synctest.Wait()
			h.commands.receive("dev1", message("m1", "x")) // starts anew
			<-calls
			results <- nil
			wantRecords(t, records, "handled m1 200")
		}
	})
}

func TestMessageIsNotCompletedIfItsHandlerPanicsOrDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		h, records := commanded(t, "", func(context.Context, payloads.Message) error {
			if down {
				panic("down")
			}
			return nil
		})
		h.commands.receive("dev1", message("m1", "x"))
		wantRecords(t, records, "handled m1 500")
		synctest.Wait()
		h.pool.bounded = poolLimit
		h.commands.receive("dev1", message("m1", "x"))
		wantRecords(t, records, "warning  0")
		h.pool.bounded = 0
		down = false
		h.commands.receive("dev1", message("m1", "x"))
		wantRecords(t, records, "handled m1 200")
	})
}

func TestCompletedMessageIsCompletedAgainAlthoughThePoolIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, records := commanded(t, "", func(context.Context, payloads.Message) error { return nil })
		h.commands.receive("dev1", message("m1", "x"))
		wantRecords(t, records, "handled m1 200")
		synctest.Wait()
		h.pool.bounded = poolLimit
		h.commands.receive("dev1", message("m1", "x"))
		h.pool.bounded = 0
		wantRecords(t, records, "handled m1 208")
	})
}

func TestNewest256CompletedMessagesAreRememberedOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "state", "commands.json")
		handle := func(context.Context, payloads.Message) error { return nil }
		h, records := commanded(t, file, handle)
		h.completed.file.Delay = time.Hour // End writes, once
		id := func(i int) string { return fmt.Sprint("m", i) }
		for i := range completedLimit + 1 {
			h.commands.receive("dev1", message(id(i), "x"))
			wantRecords(t, records, "handled "+id(i)+" 200")
			synctest.Wait()
		}
		h.End()
		again, later := commanded(t, file, handle)
		for _, one := range []struct {
			h       *Hub
			records chan observe.Record
		}{{h, records}, {again, later}} {
			for i := 1; i <= completedLimit; i++ {
				one.h.commands.receive("dev1", message(id(i), "x"))
				wantRecords(t, one.records, "handled "+id(i)+" 208")
			}
			one.h.commands.receive("dev1", message(id(0), "x")) // the oldest was forgotten
			wantRecords(t, one.records, "handled m0 200")
			synctest.Wait()
			if n := len(one.h.completed.newest); n != completedLimit {
				t.Errorf("%d are kept in memory", n)
			}
		}
	})
}

// The PUBACK must not be sent before the file is safe, and nothing else may wait for that.
func TestStalledDiskDelaysOnlyTheMessagesThatItIsToHold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "commands.json")
	calls := make(chan string, 10)
	h, records := commanded(t, file, func(_ context.Context, m payloads.Message) error { calls <- m.ID; return nil })
	disk, state := make(chan bool), h.completed.file.State
	h.completed.file.State = func() completedFile { <-disk; return state() }
	for _, id := range []string{"m1", "m2", "m1"} {
		h.commands.receive("dev1", message(id, "x"))
	}
	started := []string{<-calls, <-calls}
	slices.Sort(started)
	if fmt.Sprint(started) != "[m1 m2]" || len(records) > 0 {
		t.Errorf("started %v; %d are completed already", started, len(records))
	}
	close(disk)
	ends := map[string]int{}
	for range 3 {
		r := <-records
		ends[fmt.Sprint(r.ID, " ", r.Status)]++
	}
	if fmt.Sprint(ends) != "map[m1 200:1 m1 208:1 m2 200:1]" {
		t.Errorf("completed %v", ends)
	}
}

func TestMessagesThatAreCompletedAtOnceAreAllInTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "commands.json")
	handle := func(context.Context, payloads.Message) error { return nil }
	h, records := commanded(t, file, handle)
	for i := range 50 {
		h.commands.receive("dev1", message(fmt.Sprint("m", i), "x"))
	}
	for range 50 {
		if r := <-records; r.Status != 200 {
			t.Errorf("%+v", r)
		}
	}
	again, records := commanded(t, file, handle)
	for i := range 50 {
		again.commands.receive("dev1", message(fmt.Sprint("m", i), "x"))
		wantRecords(t, records, fmt.Sprint("handled m", i, " 208"))
	}
}

func TestCompletedMessagesAreRememberedInMemoryIfTheFileCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := filepath.Join(t.TempDir(), "a file")
		if err := os.WriteFile(below, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(below, "state", "commands.json")
		h, records := commanded(t, "", func(context.Context, payloads.Message) error { return nil })
		h.completed = newCompleted(statefile.At(file))
		h.completed.file.Report = h.writeReporter("completed messages", "")
		h.commands.completed = h.completed
		h.commands.receive("dev1", message("m1", "x"))
		if r := <-records; r.Kind != observe.Warning ||
			!strings.Contains(r.Error, "make the state directory writable") {
			t.Errorf("%+v", r)
		}
		wantRecords(t, records, "handled m1 200")
		synctest.Wait()
		h.commands.receive("dev1", message("m1", "x"))
		wantRecords(t, records, "handled m1 208")
		h.End()
	})
}

// A handler that hangs for ever must not gather deliveries for ever.
func TestOnlyTheNewestDeliveriesOfAMessageWhoseHandlerHangsAreKept(t *testing.T) {
	c := newCompleted(statefile.File{})
	m := message("m1", "x")
	d := digestOf("m1", m)
	for i := range 1000 {
		if got, want := c.begin(d, m), map[bool]progress{true: isNew, false: isRunning}[i == 0]; got != want {
			t.Fatalf("delivery %d has the progress %d", i, got)
		}
	}
	if n := len(c.end(d)); n != deliveriesLimit {
		t.Errorf("%d deliveries were kept", n)
	}
}

func TestDamagedFileOfCompletedMessagesCostsAWarning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "commands.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, Settings{CompletedFile: statefile.At(file), Off: Desired | Reported}, func(t *testing.T, w *world) {
		w.connect(nil)
		w.pause()
		w.work()
		if r := w.recorded(observe.Warning); len(r) != 1 || !strings.Contains(r[0], "hub: the completed messages: ") {
			t.Errorf("recorded %q", r)
		}
	})
}
