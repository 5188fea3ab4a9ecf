// Package fleet computes how long a fleet of devices takes to come back after an outage, when all of them share the
// limits of one hub and of DPS.
package fleet

import (
	"container/heap"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// An Outage is what happens to the fleet. Its value is the name of the outage.
type Outage string

const (
	Returns Outage = "hub-returns" // the hub comes back after Plan.Away, and nobody has moved the devices
	Moved   Outage = "moved"       // the hub does not come back, and all devices are moved to another one at once
)

// A Plan describes a fleet, its limits and its outage.
type Plan struct {
	Devices        int
	HubConnections int // that a hub accepts in a second
	Registrations  int // that DPS accepts in a minute
	Outage         Outage
	Away           time.Duration // how long the hub is away, if it returns
	RetryAfter     time.Duration // how long a registration takes
	Seed           uint64        // of all random waits
}

// horizon bounds a simulation. A fleet that is not back by then is counted as not back.
const horizon = 24 * time.Hour

// Spread returns the setting --spread that suits the fleet: the time that the hub needs for all devices, and three
// tenths more, so that chance does not exceed the limit often.
func (p Plan) Spread() time.Duration {
	return (13 * time.Second * time.Duration(p.Devices) / time.Duration(10*p.HubConnections)).Round(time.Second)
}

// Limit returns the time that the limits alone need, whatever the devices do.
func (p Plan) Limit() time.Duration {
	at := time.Second * time.Duration(p.Devices) / time.Duration(p.HubConnections)
	if p.Outage == Moved {
		at = max(at, time.Minute*time.Duration(p.Devices)/time.Duration(p.Registrations))
	}
	return at
}

// A Result says how a fleet with one policy came back. Times are since the way to a hub was open again.
type Result struct {
	Policy   string
	Back     int           // devices that came back
	Half     time.Duration // until half of the devices were back
	All      time.Duration // until all of them were back
	Peak     int           // attempts at the hub that is up in the busiest second, since it was up
	Attempts int           // attempts at a hub that is up and at DPS
}

// MarshalJSON encodes the times in seconds.
func (r Result) MarshalJSON() ([]byte, error) {
	seconds := func(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
	return json.Marshal(map[string]any{
		"policy": r.Policy, "back": r.Back, "half_s": seconds(r.Half), "all_s": seconds(r.All),
		"busiest_second": r.Peak, "attempts": r.Attempts,
	})
}

// A device is one device of the fleet: it chooses its attempts, and hears how they ended.
type device interface {
	// next returns the next attempt, and when it begins.
	next(now time.Time) (atHub bool, at time.Time)
	try(atHub bool, now time.Time)
	fail(atHub bool, retryAfter time.Duration, now time.Time)
	assign(other bool, now time.Time) // DPS has named a hub; other is whether it is another one than before
}

// An attempt is an event of the simulation.
type attempt struct {
	at     time.Time
	device int
	ready  bool // the registration that has begun is over
}

type attempts []attempt

func (a attempts) Len() int           { return len(a) }
func (a attempts) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a attempts) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *attempts) Push(x any)        { *a = append(*a, x.(attempt)) }
func (a *attempts) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// A simulation is one fleet with one policy.
type simulation struct {
	Plan
	devices  []device
	moved    []bool // whether the device knows the hub to which it was moved
	queue    attempts
	open     time.Time
	hub, dps emulator.Gate
	back     []time.Duration
	atHub    []time.Time // attempts at the hub that is up
	atDPS    int
}

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// run simulates the fleet. newDevice returns a device that loses its hub at the time begin.
func (p Plan) run(policy string, newDevice func(luck func() float64) device) Result {
	s := &simulation{
		Plan: p, open: begin, moved: make([]bool, p.Devices),
		hub: emulator.NewGate(p.HubConnections, time.Second), dps: emulator.NewGate(p.Registrations, time.Minute),
	}
	if p.Outage == Returns {
		s.open = begin.Add(p.Away)
	}
	random := rand.New(rand.NewPCG(p.Seed, 1))
	for i := range p.Devices {
		d := newDevice(random.Float64)
		s.devices = append(s.devices, d)
		s.plan(i, begin)
	}
	for len(s.queue) > 0 {
		a := heap.Pop(&s.queue).(attempt)
		if a.at.Sub(begin) > horizon {
			break
		}
		s.step(a)
	}
	return s.result(policy)
}

// plan adds the next attempt of a device.
func (s *simulation) plan(i int, now time.Time) {
	_, at := s.devices[i].next(now)
	heap.Push(&s.queue, attempt{at: at, device: i})
}

func (s *simulation) step(a attempt) {
	d := s.devices[a.device]
	if a.ready {
		other := s.Outage == Moved && !s.moved[a.device]
		s.moved[a.device] = s.Outage == Moved
		d.assign(other, a.at)
		s.plan(a.device, a.at)
		return
	}
	atHub, at := d.next(a.at)
	if at.After(a.at) { // something has changed since the attempt was planned
		heap.Push(&s.queue, attempt{at: at, device: a.device})
		return
	}
	d.try(atHub, a.at)
	if !atHub {
		s.atDPS++
		if wait := s.dps.Admit(a.at); wait > 0 {
			d.fail(false, max(wait, s.RetryAfter).Round(time.Second), a.at)
			s.plan(a.device, a.at)
			return
		}
		heap.Push(&s.queue, attempt{at: a.at.Add(s.RetryAfter), device: a.device, ready: true})
		return
	}
	if up := s.moved[a.device] || s.Outage == Returns && !a.at.Before(s.open); up {
		s.atHub = append(s.atHub, a.at)
		if s.hub.Admit(a.at) == 0 {
			s.back = append(s.back, a.at.Sub(s.open))
			return
		}
	}
	d.fail(true, 0, a.at)
	s.plan(a.device, a.at)
}

func (s *simulation) result(policy string) Result {
	r := Result{Policy: policy, Back: len(s.back), Attempts: len(s.atHub) + s.atDPS}
	slices.Sort(s.back)
	if len(s.back) > 0 {
		r.Half, r.All = s.back[len(s.back)/2], s.back[len(s.back)-1]
	}
	first := 0
	for i, at := range s.atHub {
		for at.Sub(s.atHub[first]) >= time.Second {
			first++
		}
		r.Peak = max(r.Peak, i-first+1)
	}
	return r
}
