//go:build unix

package outbox

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Only the files of the newest segments are open, so the oldest is opened again when its readings are sent.
func TestNamedPipeInThePlaceOfASegmentIsADamagedSegment(t *testing.T) {
	h := openHomed(t, Options{})
	h.put(6 * maxOpenFiles)
	must(t, h.Close())
	h.reopen()
	oldest := logs(h.dir())[0]
	must(t, os.Remove(oldest), syscall.Mkfifo(oldest, 0o600))
	next := make(chan uint64)
	go func() {
		r, _ := h.Peek(0)
		next <- r.ID.N
	}()
	select {
	case n := <-next:
		if n <= 1 || n > 10 {
			t.Errorf("reading %d is handed out", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("Peek hangs")
		writer, err := os.OpenFile(oldest, os.O_WRONLY|syscall.O_NONBLOCK, 0) // lets Peek go on
		must(t, err, writer.Close())
	}
	must(t, h.Close())
	if h.wantNothingLost() == 0 {
		t.Errorf("nothing was dropped with %s", filepath.Base(oldest))
	}
}

func TestNamedPipeInThePlaceOfTheOutboxIsAnErrorAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "outbox")
	must(t, syscall.Mkfifo(dir, 0o600))
	ended := make(chan error)
	go func() {
		l, err := Open(dir, Options{})
		if err == nil { // as with a directory that cannot be made
			_, err = l.Put(t.Context(), of("reading"), Stamp{})
			_ = l.Close()
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a reading was accepted")
		}
	case <-time.After(10 * time.Second):
		t.Error("it hangs")
		writer, err := os.OpenFile(dir, os.O_WRONLY|syscall.O_NONBLOCK, 0) // lets Open go on
		must(t, err, writer.Close())
	}
}
