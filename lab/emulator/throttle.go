package emulator

import "time"

// gateBurst is the time whose admissions may come at once. IoT Hub delays a burst before it refuses connections; the
// emulator admits it at once. Source: azure-docs articles/iot-hub/iot-hub-devguide-quotas-throttling.md
const gateBurst = 5 * time.Second

// A Gate admits requests at a rate, which all devices of an endpoint share.
type Gate struct {
	interval time.Duration // time between two admissions; zero means that there is no limit
	free     time.Time     // time from which the next request is admitted, apart from a burst
}

// NewGate returns a gate for n requests within a time. Zero means that there is no limit.
func NewGate(n int, within time.Duration) Gate {
	if n == 0 {
		return Gate{}
	}
	return Gate{interval: within / time.Duration(n)}
}

// Admit returns zero if a request is admitted, and otherwise the time after which one may be.
func (g *Gate) Admit(now time.Time) (wait time.Duration) {
	if g.interval == 0 {
		return 0
	}
	if earliest := now.Add(-gateBurst); g.free.Before(earliest) {
		g.free = earliest
	}
	if wait = g.free.Sub(now); wait > 0 {
		return wait
	}
	g.free = g.free.Add(g.interval)
	return 0
}
