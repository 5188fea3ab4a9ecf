package hub

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
)

// silent counts its calls and accepts every value.
func silent(called *int) Handlers {
	var mu sync.Mutex
	return Handlers{Desired: func(context.Context, payloads.PropertyName, json.RawMessage) (PropertyAck, error) {
		mu.Lock()
		defer mu.Unlock()
		*called++
		return PropertyAck{}, nil
	}}
}

func hangs(ctx context.Context, _ payloads.PropertyName, _ json.RawMessage) (PropertyAck, error) {
	<-ctx.Done()
	return PropertyAck{}, ctx.Err()
}

// Report waits for the disk as long as its context allows. The session goes on.
func TestStalledDiskDelaysOnlyReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReporter(t, Settings{TwinFile: statefile.At(filepath.Join(t.TempDir(), "twin.json"))})
		disk, state := make(chan bool), r.twin.reported.file.State
		r.twin.reported.file.State = func() twinFile { <-disk; return state() }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Report(ctx, object(t, `{"a":1}`)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("report: %v", err)
		}
		r.twin.reported.acknowledge(ackOf("", "x", "1", 1))
		if got := r.confirm(); got != `{"a":1,"x":{"value":1,"ac":200,"av":1,"ad":null}}` {
			t.Errorf("sent %s", got)
		}
		close(disk)
		r.End()
	})
}

// The file is out of date: after a restart it would be sent in the place of newer values.
func TestTwinFileIsRemovedWhenTheDiskWorksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := filepath.Join(t.TempDir(), "state")
		file := filepath.Join(below, "twin.json")
		r := newReporter(t, Settings{TwinFile: statefile.At(file)})
		r.report(`{"a":1}`)
		aside := filepath.Join(t.TempDir(), "aside")
		if err := errors.Join(os.Rename(below, aside), os.WriteFile(below, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		r.report(`{"a":2}`)
		r.confirm()
		synctest.Wait()
		r.wantWarnings("make the state directory writable")
		if err := errors.Join(os.Remove(below), os.Rename(aside, below)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := contents(file); got != "" {
			t.Errorf("there is still %s", got)
		}
		r.wantWarnings("can be stored again")
		r.End()
	})
}

// A device that keeps nothing on the disk may find the file of an earlier one. A later device must not
// find it again.
func TestTwinFileInMemoryIsNotWrittenAndIsRemovedWhenConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "twin.json")
		r := newReporter(t, Settings{TwinFile: statefile.At(file), InMemory: true})
		r.report(`{"a":1}`)
		if n, kept := r.End(); n != 1 || kept || contents(file) != "" {
			t.Errorf("%d are unconfirmed, kept: %t, in %s", n, kept, contents(file))
		}
		durable := newReporter(t, Settings{TwinFile: statefile.At(file)})
		durable.report(`{"a":1,"b":1}`)
		durable.End()
		before := contents(file)
		again := newReporter(t, Settings{TwinFile: statefile.At(file), InMemory: true})
		again.report(`{"a":2}`)
		synctest.Wait()
		if contents(file) != before {
			t.Errorf("the file was written: %s", contents(file))
		}
		if got := again.confirm(); got != `{"a":2,"b":1}` {
			t.Errorf("sent %s", got)
		}
		synctest.Wait()
		if contents(file) != "" {
			t.Errorf("the file is left: %s", contents(file))
		}
		again.End()
	})
}
