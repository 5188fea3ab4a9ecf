package machine_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkThroughput publishes at QoS 1 over TLS to a cloud in another process, in three ways: with paho
// alone, with a device that keeps its readings in memory, and with one that has them on the disk before it
// sends them. They take turns, so that what else the machine does slows all of them down; what compares them
// is the median of the rounds' ratios. docs/performance.md has the figures.
func BenchmarkThroughput(b *testing.B) {
	for _, way := range []struct{ window, round int }{{1, 1_000}, {10, 5_000}, {100, 10_000}} {
		b.Run(fmt.Sprintf("window-%d", way.window), func(b *testing.B) {
			cloud := startCloud(b)
			disk := newDiskMeter(b)
			all := []*contestant{
				{name: "paho", publisher: newBare(b, cloud, way.window)},
				{name: "memory", publisher: newInMemory(b, cloud, way.window)},
				{name: "disk", publisher: newDurable(b, cloud, way.window, disk)},
			}
			rounds := 0
			for b.Loop() {
				for i := range all {
					all[(rounds+i)%len(all)].race(way.round)
				}
				rounds++
			}
			for _, c := range all {
				c.publisher.close()
			}
			b.ReportMetric(0, "ns/op")
			for _, c := range all {
				c.report(b, all[0], way.round)
			}
			disk.report(b, rounds*way.round)
		})
	}
}

// A publisher publishes n readings and returns when all are acknowledged.
type publisher interface {
	publish(n int)
	close()
}

// A contestant is a publisher and what its rounds took.
type contestant struct {
	name string
	publisher
	took          []time.Duration
	allocs, bytes []uint64
}

func (c *contestant) race(n int) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	c.publish(n)
	c.took = append(c.took, time.Since(start))
	runtime.ReadMemStats(&after)
	c.allocs, c.bytes = append(c.allocs, after.Mallocs-before.Mallocs),
		append(c.bytes, after.TotalAlloc-before.TotalAlloc)
}

func (c *contestant) report(b *testing.B, base *contestant, n int) {
	each := func(total float64) float64 { return total / float64(n) }
	b.ReportMetric(float64(n)/median(c.took).Seconds(), c.name+"/s")
	b.ReportMetric(each(float64(median(c.allocs))), c.name+"-allocs")
	b.ReportMetric(each(float64(median(c.bytes))), c.name+"-alloc-B")
	if c == base {
		return
	}
	var ratios []float64
	for i := range c.took {
		ratios = append(ratios, base.took[i].Seconds()/c.took[i].Seconds())
	}
	b.ReportMetric(median(ratios), c.name+"/paho")
	slices.Sort(ratios)
	b.Logf("%s/paho, the middle half of the rounds: %.2f to %.2f", c.name, ratios[len(ratios)/4],
		ratios[len(ratios)*3/4])
}

func median[T ~int64 | ~uint64 | ~float64](all []T) T {
	return slices.Sorted(slices.Values(all))[len(all)/2]
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
