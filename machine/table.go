// Package machine is an Azure IoT device as a finite-state machine: six states, the table that connects them,
// and the engine that moves them. A program embeds a Device (device.go), describes it by Settings
// (settings.go) and needs no other package of this module (names.go). To read the code, start at this file,
// which has the table.
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

// table returns the device's table. Each state's Action is in the file of its name.
func (l *life) table() Table {
	return Table{
		Initial: Unprovisioned,
		States: []StateSpec{
			{Unprovisioned, "Holds no assigned hub yet: looks for a stored one, or rests after DPS has refused the device.", l.unprovisioned},
			{Provisioning, "Asks DPS for the assigned hub, waiting as DPS says, for two minutes at most.", l.provisioning},
			{Connecting, "Tries the assigned hub once: dial, TLS, CONNECT.", l.connecting},
			{Connected, "Works: the message handlers are attached, and readings and reported properties go to the hub.", l.connected},
			{Failover, "Chooses where to go next, the hub or DPS, and waits out the back-off.", l.failover},
			{Closing, "Sends what it still can before the deadline, disconnects, and ends.", l.closing},
		},
		Rows: []Transition{
			{Unprovisioned, Cached, Connecting, "a stored assignment fits this DPS host, ID scope and registration ID"},
			{Unprovisioned, Register, Provisioning, "there is none, or the rest after a refusal is over"},
			{Provisioning, Assigned, Connecting, "DPS named the assigned hub"},
			{Provisioning, DPSRefused, Unprovisioned, "DPS said no to a device without an assignment"},
			{Provisioning, Unavailable, Failover, "DPS was unreachable, throttled or failing, or refused a device that has an assignment to go on with"},
			{Connecting, HubAccepted, Connected, "the hub accepted CONNECT"},
			{Connecting, ConnectFailed, Failover, "anything else; the cause travels along"},
			{Connected, Lost, Failover, "the session ended, with its cause"},
			{Connected, Renew, Connecting, "the SAS token nears its end: a planned reconnect, not a fault"},
			{Failover, RetryHub, Connecting, "the policy says: the same hub"},
			{Failover, Reprovision, Provisioning, "the policy says: ask DPS"},
			{Any, Close, Closing, "the program ends"},
		},
	}
}
