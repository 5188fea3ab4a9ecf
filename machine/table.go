// Package machine is an Azure IoT device as a finite-state machine: six states, the table that connects them,
// and the engine that runs them. A program embeds a Device (device.go), describes the device by Settings
// (settings.go) and needs no other package of this module (names.go). To read the code, start with the table
// in this file.
package machine

//go:generate go run -C .. ./cmd/failover states --output docs/states.md

// The states of a device.
const (
	Unprovisioned State = "Unprovisioned"
	Provisioning  State = "Provisioning"
	Connecting    State = "Connecting"
	Connected     State = "Connected"
	Failover      State = "Failover"
	Closing       State = "Closing"
)

// The events that move a device.
const (
	Cached        Event = "cached"
	Register      Event = "register"
	Assigned      Event = "assigned"
	Unchanged     Event = "unchanged"
	DPSRefused    Event = "refused"
	Unavailable   Event = "unavailable"
	HubAccepted   Event = "connected"
	ConnectFailed Event = "connect-failed"
	Lost          Event = "lost"
	Renew         Event = "renew"
	RetryHub      Event = "retry-hub"
	Reprovision   Event = "reprovision"
	Close         Event = "close"
)

// table returns the device's table. The Action of each state is in the file that has the state's name.
func (l *life) table() Table {
	t := Table{
		Initial: Unprovisioned,
		States: []StateSpec{
			{
				Unprovisioned, "Has no assignment. Looks for a stored one, or waits after DPS has refused the device.",
				l.unprovisioned,
			},
			{Provisioning, "Asks DPS for an assignment, for two minutes at most.", l.provisioning},
			{Connecting, "Tries once to connect to the assigned hub: dial, TLS, CONNECT.", l.connecting},
			{Connected, "Sends readings and reported properties, and has the message handlers attached.", l.connected},
			{Failover, "Chooses what to try next, the hub or DPS, and waits for the back-off.", l.failover},
			{Closing, "Sends what it can before the deadline, disconnects, and ends.", l.closing},
		},
		Rows: []Transition{
			{Unprovisioned, Cached, Connecting, "a stored assignment has this DPS host, ID scope and registration ID"},
			{Unprovisioned, Register, Provisioning, "there is none, or the wait after a refusal is over"},
			{Provisioning, Assigned, Connecting, "DPS named a hub"},
			{Provisioning, Unchanged, Failover, "DPS named the hub that has just failed, which is not tried again yet"},
			{Provisioning, DPSRefused, Unprovisioned, "DPS refused a device that has no assignment"},
			{
				Provisioning, Unavailable, Failover,
				"DPS could not be asked, throttled or failed, or refused a device that has an assignment",
			},
			{Connecting, HubAccepted, Connected, "the hub accepted CONNECT"},
			{Connecting, ConnectFailed, Failover, "anything else; the cause says what"},
			{Connected, Lost, Failover, "the session ended; the cause says why"},
			{Connected, Renew, Connecting, "the SAS token nears its end, which needs a new session; this is no fault"},
			{Failover, RetryHub, Connecting, "the policy chose the hub"},
			{Failover, Reprovision, Provisioning, "the policy chose DPS"},
			{Any, Close, Closing, "the program ends"},
		},
	}
	for i := range t.States {
		t.States[i].Do = l.usesHub(t.States[i].Do)
	}
	return t
}
