//go:build unix

package machine_test

import (
	"syscall"
	"testing"
	"time"
)

// BenchmarkCPU publishes ten readings a second for ten seconds in the ways of BenchmarkThroughput, which take turns,
// and reports the CPU time that each costs in a minute, without what the idle connections of all cost.
// docs/performance.md has the figures.
func BenchmarkCPU(b *testing.B) {
	const readings, pause = 100, 100 * time.Millisecond
	cloud := startCloud(b)
	all := []*contestant{
		{name: "idle"},
		{name: "paho", publisher: newBare(b, cloud, 1)},
		{name: "memory", publisher: newInMemory(b, cloud, 1)},
		{name: "disk", publisher: newDurable(b, cloud, 1, newDiskMeter(b))},
	}
	rounds := 0
	for b.Loop() {
		for i := range all {
			c := all[(rounds+i)%len(all)]
			before := cpuTime(b)
			tick := time.NewTicker(pause)
			for range readings {
				if <-tick.C; c.publisher != nil {
					c.publish(1)
				}
			}
			tick.Stop()
			c.took = append(c.took, cpuTime(b)-before)
		}
		rounds++
	}
	b.ReportMetric(0, "ns/op")
	for _, c := range all {
		if c.publisher != nil {
			c.publisher.close()
		}
	}
	idle, paho := all[0].took, all[1].took
	for _, c := range all[1:] {
		var costs, ratios []float64
		for i, took := range c.took {
			costs = append(costs, (took-idle[i]).Seconds()/(readings*pause).Minutes())
			ratios = append(ratios, (took-idle[i]).Seconds()/(paho[i]-idle[i]).Seconds())
		}
		b.ReportMetric(median(costs), c.name+"-s/min")
		b.ReportMetric(median(ratios), c.name+"/paho")
	}
}

// cpuTime returns the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
