package emulator

import (
	"fmt"
	"time"
)

// The faults of DPS that BreakDPS accepts. DPSHealthy means that DPS has no fault.
const (
	DPSHealthy      Fault = ""
	DPSThrottles    Fault = "throttles"
	DPSUnavailable  Fault = "unavailable"
	DPSUnauthorized Fault = "unauthorized"
	DPSForbids      Fault = "forbids"
	DPSForgets      Fault = "forgets"
	DPSRefuses      Fault = Reject
	DPSFails        Fault = "fails"
	DPSDisabled     Fault = "disables"
)

// More faults of DPS.
const (
	DPSThrottlesRegister Fault = "throttles-register"
	DPSThrottlesPoll     Fault = "throttles-poll"
	DPSUnassigned        Fault = "unassigned"
	DPSHubless           Fault = "hubless"
	DPSMisdirects        Fault = "misdirects"
	DPSAlternates        Fault = "alternates"
	DPSMute              Fault = "mute"
	DPSLingers           Fault = "lingers"
	DPSLateAnswers       Fault = "late-answers"
	DPSWrongRID          Fault = "wrong-rid"
	DPSNoOperationID     Fault = "no-operation-id"
)

var breakFaults = []Fault{
	DPSThrottles, DPSUnavailable, DPSUnauthorized, DPSForbids, DPSForgets, DPSRefuses, DPSFails, DPSDisabled,
}

var dpsErrorAnswers = []struct {
	fault        Fault
	status, code int
	message      string
}{
	{DPSUnavailable, 503, 503001, "The service is unavailable."},
	{DPSUnauthorized, 401, 401002, "Unauthorized."},
	{DPSForbids, 403, 403001, "The enrollment is disabled."},
	{DPSForgets, 404, 404201, "There is no such enrollment."},
}

// StopDPS ends all connections to DPS and refuses new ones, until StartDPS.
func (c *Cloud) StopDPS() error { return c.Inject(TargetDPS, FIN, Params{}) }

// StartDPS makes DPS listen again on the same port.
func (c *Cloud) StartDPS() error {
	c.mu.Lock()
	defer c.unlock()
	t, _ := c.target(TargetDPS)
	return named(c.clearMatching(t, isDownFault), "start DPS")
}

// BreakDPS injects one fault into DPS and clears all other faults that BreakDPS can inject.
// DPSHealthy only clears these faults. With DPSThrottles, answers carry Config.RetryAfter.
func (c *Cloud) BreakDPS(fault Fault) error {
	c.mu.Lock()
	defer c.unlock()
	t, _ := c.target(TargetDPS)
	known := fault == DPSHealthy
	for _, f := range breakFaults {
		known = known || f == fault
	}
	if !known {
		return fmt.Errorf("emulator: DPS has no fault %q", fault)
	}
	for _, f := range breakFaults {
		if k, err := findFault(f); err == nil && f != fault && t.faults()[f] != nil {
			if err := c.clearFault(t, k); err != nil {
				return named(err, "break DPS")
			}
		}
	}
	var p Params
	switch fault {
	case DPSHealthy:
		return nil
	case DPSThrottles:
		p.RetryAfter = c.config.RetryAfter
	}
	return named(c.inject(t, fault, p), "break DPS")
}

func (p *dps) triggered(fault Fault) *activeFault {
	return p.cloud.triggered(fault, p.frontend.faults)
}

// answerFault answers the request as an active fault demands, and reports whether the request was
// answered. half is the fault that throttles only this kind of request.
func (q dpsRequest) answerFault(half Fault) bool {
	if q.answerDisabled() {
		return true
	}
	report := func(status int) { q.cloud.emit(KindRegister, "DPS", q.client.id, "answered %d", status) }
	for _, f := range []Fault{DPSThrottles, half} {
		if a := q.triggered(f); a != nil {
			report(429)
			q.throttle(a.RetryAfter)
			return true
		}
	}
	for _, wrong := range dpsErrorAnswers {
		a := q.triggered(wrong.fault)
		if a == nil {
			continue
		}
		if a.Status != 0 {
			wrong.status, wrong.code = a.Status, a.Status*1000+1
		}
		report(wrong.status)
		q.answer(wrong.status, retryAfterText(a.RetryAfter), q.frontend.errorBody(wrong.code, wrong.message))
		return true
	}
	return false
}

// assignmentTime returns the time that an assignment takes.
func (q dpsRequest) assignmentTime() time.Duration {
	if a := q.triggered(DPSLingers); a != nil {
		return a.Delay
	}
	return q.cloud.config.RetryAfter
}

// decide ends the device's operation with a result, unless it has one. A client may poll the operation
// again after that.
func (p *dps) decide(d *device) {
	if d.operation.result != "" {
		return
	}
	switch {
	case p.triggered(DPSFails) != nil, d.faults[Blocked] != nil:
		d.operation.result = "failed"
	case p.triggered(DPSDisabled) != nil:
		d.operation.result = "disabled"
	case p.triggered(DPSUnassigned) != nil:
		d.operation.result = "unassigned"
	default:
		d.operation.result = "assigned"
		p.assign(d)
		return
	}
	p.cloud.emit(KindAssigned, "", d.id, "the registration ended as %s", d.operation.result)
}

// assign gives the device a hub.
func (p *dps) assign(d *device) {
	p.clearByRegistration(d)
	if d.hub != nil && len(p.cloud.hubs) > 1 && p.triggered(DPSAlternates) != nil {
		p.cloud.move(d, p.cloud.otherHub(d.hub))
		return
	}
	p.cloud.assign(d)
}

// applyHubFaults changes or removes the hub in the answer.
func (q dpsRequest) applyHubFaults(state map[string]any) {
	if a := q.triggered(DPSMisdirects); a != nil {
		state["assignedHub"] = a.Hub
		if h, err := q.cloud.hub(a.Hub); err == nil {
			state["assignedHub"] = h.host
		}
	}
	if q.triggered(DPSHubless) != nil {
		delete(state, "assignedHub")
	}
}
