package outbox_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"giantlizard.example/failover/lab/slow"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
)

// opened opens a log and closes it at the end of the test.
func opened(t *testing.T, dir string, o outbox.Options) *outbox.Log {
	t.Helper()
	o.Warn = func(err error) { t.Errorf("warned: %v", err) }
	l, err := outbox.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func reopened(t *testing.T, l *outbox.Log, dir string, o outbox.Options) *outbox.Log {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return opened(t, dir, o)
}

func TestReadingsNumbersAndEpochOutliveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "outbox")
	l := opened(t, dir, outbox.Options{})
	first := payloads.Reading{
		Body: []byte(`{"temp":21.5}`), Properties: map[string]string{"line": "4 & more", "": "x"}, Component: "oven",
		Taken: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.FixedZone("", 3600)),
	}
	stamp := outbox.Stamp{Uptime: 18 * time.Second, BeforeClockWasSet: true}
	id, err := l.Put(t.Context(), first, stamp)
	if err != nil {
		t.Fatal(err)
	}
	put(t, l, 4)
	peeked(l, 0)
	l.Remove(2)
	l.Remove(4)
	l = reopened(t, l, dir, outbox.Options{})
	e, ok := l.Peek(0)
	if !ok || e.ID != id || e.Stamp != stamp || fmt.Sprint(e.Reading) != fmt.Sprint(payloads.Reading{
		Body: first.Body, Properties: first.Properties, Component: "oven", Taken: first.Taken.UTC(),
	}) {
		t.Errorf("the first came back as %v", e)
	}
	if got := peeked(l, 0); !slices.Equal(got, []uint64{3, 5}) {
		t.Errorf("after it came %v", got)
	}
	if next, err := l.Put(t.Context(), reading("6"), outbox.Stamp{}); err != nil || next.N != 6 ||
		next.Epoch != id.Epoch {
		t.Errorf("the next is %s, %v", next, err)
	}
	for n := uint64(1); n <= 6; n++ {
		l.Remove(n)
	}
	l = reopened(t, l, dir, outbox.Options{})
	if got := peeked(l, 0); !slices.Equal(got, []uint64{6}) { // 6 was never handed out, so it could not be removed
		t.Errorf("in the end %v", got)
	}
}

func TestNumbersContinueAfterAnEmptyOutbox(t *testing.T) {
	slow.Test(t)
	dir := t.TempDir()
	l := opened(t, dir, outbox.Options{})
	for range 3 {
		put(t, l, 1000)
		for _, n := range peeked(l, 0) {
			l.Remove(n)
		}
		l = reopened(t, l, dir, outbox.Options{})
	}
	if n, bytes := l.Pending(); n != 0 || bytes != 0 || l.Last() != 3000 {
		t.Errorf("%d readings, %d bytes wait; the last is %d", n, bytes, l.Last())
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) > 2 {
		t.Errorf("an empty outbox keeps %v, %v", names, err)
	}
}

func TestFilesAreReadableByTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "outbox")
	l := opened(t, dir, outbox.Options{})
	put(t, l, 1)
	l.Peek(0)
	l.Quarantine(1, errors.New("bad"))
	put(t, l, 1)
	l.Close()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestQuarantinedReadingIsKeptAndNamedByTheNext(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, dir, outbox.Options{})
	put(t, l, 3)
	peeked(l, 0)
	l.Quarantine(2, errors.New("the hub ends the session"))
	l.Leave(3)
	l = reopened(t, l, dir, outbox.Options{})
	s, err := outbox.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for q, err := range s.Quarantined() {
		if count++; err != nil || q.ID.N != 2 || string(q.Reading.Body) != "12345678" ||
			q.Why != "the hub ends the session" {
			t.Errorf("%+v, %v", q, err)
		}
	}
	if count != 1 {
		t.Errorf("%d readings are in quarantine", count)
	}
	if got := peeked(l, 0); !slices.Equal(got, []uint64{1, 3}) {
		t.Errorf("the queue is %v", got)
	}
	l.Leave(3)
	e, _ := l.Peek(1)
	if e.Reading.Properties[outbox.MissingProperty] != "2" {
		t.Errorf("the next reading says %v", e.Reading.Properties)
	}
}
