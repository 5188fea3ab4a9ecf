package outbox

import (
	"testing"
	"time"
)

// BenchmarkBoxes measures both kinds of outbox in the same ways: an operation is one reading that is
// put, handed out and removed. A log is either durable, on the disk where the source is, or it is
// synced every hour on a disk in memory, which shows the time of the processor.
func BenchmarkBoxes(b *testing.B) {
	limits := Limits{Readings: 1 << 30, Bytes: 1 << 30}
	kinds := []struct {
		name string
		open func(*testing.B, Limits) Outbox
	}{
		{"memory", func(_ *testing.B, l Limits) Outbox { return NewMemory(Options{Limits: l}) }},
		{"log", func(b *testing.B, l Limits) Outbox {
			return logOf(b, Options{Limits: l, Sync: time.Hour, Files: newDisk()})
		}},
		{"durable", func(b *testing.B, l Limits) Outbox {
			return logOf(b, Options{Limits: l, Files: SystemFiles(onDisk(b))})
		}},
	}
	for _, kind := range kinds {
		b.Run(kind.name+"/cycle", func(b *testing.B) {
			box := kind.open(b, limits)
			for b.Loop() {
				putOne(b, box)
				removeOne(b, box)
			}
			box.Close()
		})
		b.Run(kind.name+"/backlog", func(b *testing.B) {
			box := kind.open(b, limits)
			for range b.N {
				putOne(b, box)
			}
			for range b.N {
				removeOne(b, box)
			}
			box.Close()
		})
		b.Run(kind.name+"/full", func(b *testing.B) {
			box := kind.open(b, Limits{Readings: 1000, Bytes: 1 << 30})
			for range b.N {
				putOne(b, box)
			}
			box.Close()
		})
	}
}

func logOf(b *testing.B, o Options) *Log {
	b.Helper()
	l, err := Open("", o)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func putOne(b *testing.B, box Outbox) {
	if _, err := box.Put(b.Context(), sample, Stamp{}); err != nil {
		b.Fatal(err)
	}
}

// removeOne delivers the oldest reading. What is not safe yet has to be made so first.
func removeOne(b *testing.B, box Outbox) {
	for {
		unsynced := box.RequestSync()
		if e, ok := box.Peek(0); ok {
			box.Remove(e.ID.N)
			return
		}
		if !unsynced {
			b.Fatal("too few")
		}
		<-box.Changed()
	}
}
