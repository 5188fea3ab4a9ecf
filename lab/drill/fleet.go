package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/transport"
)

// A Fleet is a number of devices of this program in one process. Run kills hub A, and the cloud
// moves the devices to hub B, or hub A returns.
type Fleet struct {
	Devices  int
	Interval time.Duration // time between the readings of a device
	Spread   time.Duration // machine.Policy.Spread of the devices
	Away     time.Duration // time after which hub A returns, and no device is moved; zero means that they are moved
	Cloud    emulator.Config
	Dial     transport.DialFunc // opens connections; nil means TCP
	Progress func(string)       // called with a description of the current step; may be nil
}

// A FleetReport is the result of a fleet. Times are in seconds.
type FleetReport struct {
	Devices    int                `json:"devices"`
	Spread     float64            `json:"spread"`
	Start      float64            `json:"start"` // time from the last start until hub A has a reading of each
	Recovered  int                `json:"recovered"`
	Recovery   map[string]float64 `json:"recovery"` // time until the first reading afterwards, by percentile
	Readings   int                `json:"readings"` // number of readings that were delivered or are missing
	Missing    int                `json:"missing"`
	Duplicates int                `json:"duplicates"`
	// Attempts counts the attempts to connect to running hosts since the way was open again.
	Attempts     int `json:"attempts"`
	PeakAttempts int `json:"peak_attempts"` // attempts in the busiest second
	// DPSPerMinute is the largest number of register requests in a minute since then.
	DPSPerMinute int `json:"dps_requests_a_minute"`
	Violations   int `json:"violations"`
	Died         int `json:"died"` // number of devices that ended with an error
}

// fleetTimeout bounds each wait for the fleet, in addition to its spread at the hub and at DPS.
const fleetTimeout = 2 * time.Minute

type fleet struct {
	Fleet
	cloud   *emulator.Cloud
	seen    recorder
	running []Running
	report  FleetReport
	open    time.Time // time at which the way to a hub is open again
	home    string    // hub at which the devices are expected then
}

// Run starts the fleet, kills its hub, and waits until all devices have recovered.
func (f Fleet) Run(ctx context.Context) (*FleetReport, error) {
	r := &fleet{Fleet: f, report: FleetReport{Devices: f.Devices, Spread: round(f.Spread.Seconds())}}
	r.Cloud.Observe = r.seen.observe
	var err error
	if r.cloud, err = emulator.Start(r.Cloud); err != nil {
		return nil, fmt.Errorf("drill: %w", err)
	}
	defer r.cloud.Close()
	err = r.play(ctx)
	r.stop()
	if err != nil {
		return nil, fmt.Errorf("drill: %w", err)
	}
	r.judge()
	return &r.report, nil
}

func (f *fleet) play(ctx context.Context) error {
	if err := f.start(ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := f.await(ctx, "connected", func() int { return f.delivered("A", start) }); err != nil {
		return err
	}
	f.report.Start = round(time.Since(start).Seconds())
	if err := f.lizard(ctx); err != nil {
		return err
	}
	return f.await(ctx, "at hub "+f.home, func() int { return f.delivered(f.home, f.open) })
}

// lizard kills hub A, and moves the devices or lets the hub return.
func (f *fleet) lizard(ctx context.Context) error {
	f.say("hub A dies")
	if f.Away == 0 {
		f.open, f.home = time.Now(), "B"
		return f.cloud.KillHub("A", emulator.FIN, emulator.WithMove)
	}
	if err := f.cloud.KillHub("A", emulator.FIN); err != nil {
		return err
	}
	select {
	case <-time.After(f.Away):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.say("hub A returns")
	f.open, f.home = time.Now(), "A"
	return f.cloud.ReviveHub("A")
}

func (f *fleet) start(ctx context.Context) error {
	for i := range f.Devices {
		if ctx.Err() != nil { // ctx may end while a large fleet starts
			return context.Cause(ctx)
		}
		id := fmt.Sprintf("fleet-%d", i+1)
		key, err := deviceKey(f.cloud, id)
		if err != nil {
			return err
		}
		client := InProcess{Dial: f.Dial, Change: func(s *machine.Settings) {
			s.Policy.Spread, s.Delivery.Unpaced = f.Spread, true
		}}
		r, err := client.Start(Place{
			ProvisioningHost: f.cloud.DPSHost(), IDScope: f.cloud.IDScope(), DeviceID: id, DeviceKey: key,
			RootCAs: f.cloud.CAPool(), Interval: f.Interval,
		})
		if err != nil {
			return err
		}
		f.running = append(f.running, r)
	}
	return nil
}

// delivered counts the devices from which a hub has received a reading since a time.
func (f *fleet) delivered(hub string, since time.Time) int {
	devices := map[string]bool{}
	for _, d := range slices.Backward(f.cloud.Ledger()) {
		if d.Received.Before(since) {
			break
		}
		if d.Hub == hub {
			devices[d.Device] = true
		}
	}
	return len(devices)
}

// await waits until count returns the number of devices. It calls count once a second instead of
// after each event, because a fleet causes many events.
func (f *fleet) await(ctx context.Context, what string, count func() int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 7*f.Spread+fleetTimeout, errors.New("timeout"))
	defer cancel()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		n := count()
		f.say(fmt.Sprintf("%d of %d devices are %s", n, f.Devices, what))
		if n == f.Devices {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d devices are %s: %w", n, f.Devices, what, context.Cause(ctx))
		}
	}
}

func (f *fleet) say(text string) {
	if f.Progress != nil {
		f.Progress(text)
	}
}

// stop ends all devices at the same time. Each delivers its pending readings first.
func (f *fleet) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), fleetTimeout)
	defer cancel()
	var stopping sync.WaitGroup
	var died atomic.Int64
	for _, r := range f.running {
		stopping.Go(func() {
			if r.Stop(ctx).Died != "" {
				died.Add(1)
			}
		})
	}
	stopping.Wait()
	f.report.Died = int(died.Load())
}

// judge fills the report from what the cloud received.
func (f *fleet) judge() {
	evidence, first := map[string]*Evidence{}, map[string]time.Duration{}
	for _, d := range f.cloud.Ledger() {
		e := evidence[d.Device]
		if e == nil {
			e = &Evidence{}
			evidence[d.Device] = e
		}
		e.Deliveries = append(e.Deliveries, d)
		if _, ok := first[d.Device]; !ok && d.Hub == f.home && !d.Received.Before(f.open) {
			first[d.Device] = d.Received.Sub(f.open)
		}
	}
	r := &f.report
	for _, e := range evidence {
		t := e.count()
		r.Readings += t.Delivered + t.Missing
		r.Missing += t.Missing
		r.Duplicates += t.Duplicates
	}
	times := slices.Sorted(maps.Values(first))
	r.Recovered, r.Recovery = len(times), map[string]float64{}
	for name, share := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1} {
		if len(times) > 0 {
			r.Recovery[name] = round(times[min(len(times)-1, int(share*float64(len(times))))].Seconds())
		}
	}
	f.judgeAttempts()
	r.Violations = len(f.cloud.Violations())
}

// judgeAttempts counts the attempts to connect and the registrations since the way was open again.
func (f *fleet) judgeAttempts() {
	var attempts, registrations []time.Time
	for _, e := range f.seen.all() {
		if e.Time.Before(f.open) {
			continue
		}
		switch e.Kind {
		case emulator.KindConnected, emulator.KindRefused:
			attempts = append(attempts, e.Time)
		case emulator.KindRegister:
			registrations = append(registrations, e.Time)
		}
	}
	r := &f.report
	r.Attempts, r.PeakAttempts = len(attempts), busiest(attempts, time.Second)
	r.DPSPerMinute = busiest(registrations, time.Minute)
}

// Print prints the report for a person.
func (r *FleetReport) Print(out io.Writer) error {
	_, err := fmt.Fprintf(out, `%d devices, with a spread of %g s
  all have sent a reading      %g s after the start
  recovered                    %d
    50th percentile            %g s
    90th percentile            %g s
    99th percentile            %g s
    maximum                    %g s
  readings missing             %d of %d (%d were delivered twice)
  attempts to connect          %d, %d in the busiest second
  registrations at DPS         %d in the busiest minute
  broken rules of the wire     %d
  devices that died            %d
`, r.Devices, r.Spread, r.Start,
		r.Recovered, r.Recovery["p50"], r.Recovery["p90"], r.Recovery["p99"], r.Recovery["max"],
		r.Missing, r.Readings, r.Duplicates, r.Attempts, r.PeakAttempts, r.DPSPerMinute, r.Violations, r.Died)
	return err
}
