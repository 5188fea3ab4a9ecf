package outbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"giantlizard.example/failover/payloads"
)

// onDisk is a directory where the source is, for a temporary one is often in memory.
func onDisk(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp(".", "bench.out")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var sample = payloads.Reading{
	Body:       []byte(`{"temperature":21.5,"humidity":48.2,"line":4,"state":"running","pressure":1013.25}`),
	Properties: map[string]string{"level": "info"}, Taken: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
}

// A meter counts what goes through Files.
type meter struct {
	Files
	bytes, syncs *atomic.Int64
}

func metered(dir string) meter { return meter{SystemFiles(dir), new(atomic.Int64), new(atomic.Int64)} }

func (m meter) Create(name string) (File, error) {
	f, err := m.Files.Create(name)
	return meteredFile{f, m}, err
}

type meteredFile struct {
	File
	m meter
}

func (f meteredFile) Write(b []byte) (int, error) {
	f.m.bytes.Add(int64(len(b)))
	return f.File.Write(b)
}

func (f meteredFile) Sync() error {
	f.m.syncs.Add(1)
	return f.File.Sync()
}

// deviceBytes is how much this process has had written to devices, 0 where the system does not say.
func deviceBytes() (n int64) {
	b, _ := os.ReadFile("/proc/self/io")
	for line := range strings.SplitSeq(string(b), "\n") {
		if _, err := fmt.Sscanf(line, "write_bytes: %d", &n); err == nil {
			return n
		}
	}
	return 0
}

// perReading runs put b.N times in so many goroutines, and reports what the device was given for each.
func perReading(b *testing.B, goroutines int, put func() error) {
	b.Helper()
	before := deviceBytes()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for range goroutines {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := put(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(deviceBytes()-before)/float64(b.N), "device-B/op")
}

func BenchmarkPut(b *testing.B) {
	for _, goroutines := range []int{1, 100} {
		b.Run(fmt.Sprintf("log-%d", goroutines), func(b *testing.B) {
			dir := onDisk(b)
			files := metered(dir)
			l, err := Open(dir, Options{Files: files, Limits: Limits{Readings: 1 << 30, Bytes: 1 << 30}})
			if err != nil {
				b.Fatal(err)
			}
			perReading(b, goroutines, func() error {
				_, err := l.Put(b.Context(), sample, Stamp{})
				return err
			})
			b.ReportMetric(float64(files.bytes.Load())/float64(b.N), "written-B/op")
			b.ReportMetric(float64(files.syncs.Load())/float64(b.N), "syncs/op")
			l.Close()
		})
		b.Run(fmt.Sprintf("bbolt-%d", goroutines), func(b *testing.B) {
			db := bolt(b, onDisk(b))
			transaction := db.Update
			if goroutines > 1 {
				transaction = db.Batch
			}
			value := appendReading(nil, Reading{Reading: sample}, time.Now())
			perReading(b, goroutines, func() error {
				return transaction(func(tx *bbolt.Tx) error { return boltPut(tx, value) })
			})
		})
	}
}

var bucket = []byte("readings")

func bolt(b *testing.B, dir string) *bbolt.DB {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "readings"), 0o600, nil)
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket(bucket)
			return err
		})
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

func boltPut(tx *bbolt.Tx, value []byte) error {
	readings := tx.Bucket(bucket)
	readings.FillPercent = 1 // keys only grow
	n, err := readings.NextSequence()
	if err != nil {
		return err
	}
	return readings.Put(binary.BigEndian.AppendUint64(nil, n), value)
}

// BenchmarkDrain delivers 100,000 readings one after the other.
func BenchmarkDrain(b *testing.B) {
	const count = 100_000
	b.Run("log", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			dir := onDisk(b)
			filled(b, dir, count)
			l, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			before := deviceBytes()
			b.StartTimer()
			for range count {
				e, ok := l.Peek(0)
				if !ok {
					b.Fatal("too few")
				}
				l.Remove(e.ID.N)
			}
			l.Close()
			b.StopTimer()
			b.ReportMetric(float64(deviceBytes()-before)/count, "device-B/reading")
			b.StartTimer()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/reading")
	})
	b.Run("bbolt-100-a-transaction", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			db := bolt(b, onDisk(b))
			value := appendReading(nil, Reading{Reading: sample}, time.Now())
			for range count / 1000 {
				if err := db.Update(func(tx *bbolt.Tx) (err error) {
					for i := 0; i < 1000 && err == nil; i++ {
						err = boltPut(tx, value)
					}
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
			before := deviceBytes()
			b.StartTimer()
			for range count / 100 {
				if err := db.Update(boltTake); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(deviceBytes()-before)/count, "device-B/reading")
			b.StartTimer()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/reading")
	})
}

// boltTake takes the oldest 100 out.
func boltTake(tx *bbolt.Tx) error {
	for range 100 {
		c := tx.Bucket(bucket).Cursor()
		k, v := c.First()
		if _, _, err := parseReading(bytes.Clone(v)[1:]); err != nil {
			return err
		}
		if err := tx.Bucket(bucket).Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// filled makes a log in which so many wait.
func filled(b *testing.B, dir string, count int) {
	b.Helper()
	l, err := Open(dir, Options{Sync: time.Hour, Limits: Limits{Readings: count, Bytes: 1 << 30}})
	if err != nil {
		b.Fatal(err)
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range (count + 99) / 100 {
				if _, err := l.Put(b.Context(), sample, Stamp{}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen opens what a device has gathered in three days of one reading a second.
func BenchmarkOpen(b *testing.B) {
	const count = 3 * 24 * 60 * 60
	dir := onDisk(b)
	filled(b, dir, count)
	b.ReportAllocs()
	var held uint64
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		l, err := Open(dir, Options{Limits: Limits{Readings: count}})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		held = heap() - before
		if n, _ := l.Pending(); n != count {
			b.Fatalf("%d wait", n)
		}
		l.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(held)/(1<<20), "heap-MiB")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
