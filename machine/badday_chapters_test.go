package machine_test

import (
	"slices"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

// A chapter of docs/faults.md is faults that are all the same to the device, on each of the targets.
type chapter struct {
	title  string
	on     []string
	faults []emulator.Fault
	text   string
}

var (
	onDPS    = []string{emulator.TargetDPS}
	onHub    = []string{emulator.TargetHub}
	onDevice = []string{emulator.TargetDevice}
	onEither = []string{emulator.TargetHub, emulator.TargetDevice}
)

func chapterOf(fault emulator.Fault, on string) chapter {
	for _, c := range chapters {
		if slices.Contains(c.on, on) && slices.Contains(c.faults, fault) {
			return c
		}
	}
	return chapter{} // which a test of its own reports
}

var chapters = []chapter{
	{
		"DPS is unreachable or its answers are invalid", onDPS, []emulator.Fault{
			emulator.FIN, emulator.RST, emulator.Refuse, emulator.CertificateExpired, emulator.CertificateEarly,
			emulator.CertificateForeign, emulator.CertificateName, emulator.GarbageCONNACK, emulator.Garbage,
			emulator.Truncated, emulator.Oversize, emulator.EndlessLength, emulator.SUBACKRefused,
			emulator.SUBACKLong, emulator.DPSUnavailable,
			emulator.DPSNoOperationID,
		},
		`The device asks DPS again after a fifth of the outage so far, after 2 s at least and 60 s at most. A device
that has lost its hub also tries the hub, at a pace of its own: after 1 s at least. A connected device does not notice
the fault.`,
	},
	{
		"DPS accepts no connection", onDPS, []emulator.Fault{emulator.BlackHole},
		"The device does the same as when DPS is unreachable, but each attempt takes 5 s to fail.",
	},
	{
		"DPS accepts connections and does not answer", onDPS, []emulator.Fault{emulator.Silence},
		`Each attempt takes 5 s to fail, and later a fifth of the outage so far, because the network might be slow.
An attempt that has not failed when the fault ends succeeds then.`,
	},
	{
		"DPS is slow", onDPS, []emulator.Fault{emulator.Slow},
		"A registration takes longer, because it needs at least five round trips.",
	},
	{
		"DPS resets most connections", onDPS, []emulator.Fault{emulator.Flaky},
		"The device asks again until a connection lasts long enough.",
	},
	{
		"DPS refuses the device", onDPS, []emulator.Fault{
			emulator.Reject, emulator.Skew, emulator.DPSUnauthorized, emulator.DPSForbids, emulator.DPSForgets,
		},
		`Only an operator can change that, so the device asks DPS again after at most 1, 2, 4, 8 and then 15 minutes,
and after at least half of that. A device without a hub waits in Unprovisioned. A device that has a hub
continues to try the hub.`,
	},
	{
		"A registration ends without a hub", onDPS,
		[]emulator.Fault{emulator.DPSFails, emulator.DPSDisabled, emulator.DPSUnassigned},
		"The device treats this as a refusal, too. The refusal comes with DPS's second answer.",
	},
	{
		"DPS throttles", onDPS, []emulator.Fault{emulator.DPSThrottles, emulator.DPSThrottlesRegister},
		`If the answer does not name a time, the device asks DPS again after a fifth of the outage so far, after 4 s
at least and 60 s at most. A device that has a hub continues to try the hub.`,
	},
	{
		"DPS throttles polls", onDPS, []emulator.Fault{emulator.DPSThrottlesPoll},
		"The device does the same as when DPS throttles. Here DPS throttles the second request of a registration.",
	},
	{
		"DPS names no hub", onDPS, []emulator.Fault{emulator.DPSHubless},
		"The device treats the answer as a failure of DPS.",
	},
	{
		"DPS names a host that is not a hub", onDPS, []emulator.Fault{emulator.DPSMisdirects},
		`The device tries the host that DPS named, and asks DPS again, because only DPS can replace an assignment.`,
	},
	{
		"DPS assigns another hub each time", onDPS, []emulator.Fault{emulator.DPSAlternates},
		`Each registration moves the device to the other hub, and the device follows. After a failover, the first ` +
			`registration names the failed hub.`,
	},
	{
		"DPS does not answer", onDPS, []emulator.Fault{emulator.DPSMute, emulator.DPSWrongRID},
		"A request fails after 10 s without its answer. The answer to another request does not count.",
	},
	{
		"An assignment takes a long time", onDPS, []emulator.Fault{emulator.DPSLingers},
		"The device polls at the interval that DPS names, for two minutes at most.",
	},
	{
		"DPS answers late", onDPS, []emulator.Fault{emulator.DPSLateAnswers},
		"The device waits up to 10 s for each answer. Here two answers are late.",
	},
	{
		"The hub is unreachable", onHub, []emulator.Fault{emulator.FIN, emulator.RST, emulator.Refuse},
		`When a session has ended, the device at once tries the same hub, once, and then DPS. Here DPS names the same
hub, so the device tries the hub after a fifth of the outage so far, after 1 s at least and 60 s at most. It asks DPS
at the same pace, after 2 s at least. A device that is closing does not connect again: it reports the readings without
an acknowledgement as lost.`,
	},
	{
		"The clock of the hub is wrong", onHub, []emulator.Fault{emulator.Skew},
		`A hub whose clock is two hours ahead treats valid tokens as expired. The device does the same as when the hub
is unreachable, but tries a hub that has refused its token once more after 50 ms, before it asks DPS: a hub that has
just restarted may refuse a device for a moment.`,
	},
	{
		"The hub refuses the token", onHub, []emulator.Fault{emulator.Reject},
		"The device does the same as when the clock of the hub is wrong, but an existing session continues.",
	},
	{
		"The hub can no longer be reached", onHub, []emulator.Fault{emulator.BlackHole},
		`The device notices it when it has received nothing for 12 s. The attempt at the same hub then fails after
2 s, later attempts fail after 5 s. Closing takes its whole limit of five seconds.`,
	},
	{
		"The hub stops answering", onHub, []emulator.Fault{emulator.Silence},
		`The device notices it when it has received nothing for 12 s. The attempt at the same hub then fails after
2 s, later attempts fail after 5 s or a fifth of the outage so far, because the network might be slow. An attempt
that has not failed when the fault ends succeeds then. Closing takes its whole limit of five seconds.`,
	},
	{
		"The hub is slow", onHub, []emulator.Fault{emulator.Slow},
		"The session continues. Connecting takes longer, because it needs three round trips.",
	},
	{
		"The hub resets most connections", onHub, []emulator.Fault{emulator.Flaky},
		"The device tries the hub again until a connection lasts long enough, and asks DPS in between.",
	},
	{
		"Sessions end after three seconds", onEither, []emulator.Fault{emulator.Flapping},
		`The device connects again at once, because readings are acknowledged in each session. Twelve sessions that the
hub ended this early, in more than a minute, look like a second process with the same identity. The device warns about
it and waits for at most 1, 2, 4, 8 and then 15 minutes, and for at least half of that.`,
	},
	{
		"The hub accepts no new connection", onHub, []emulator.Fault{
			emulator.CertificateExpired, emulator.CertificateEarly, emulator.CertificateForeign,
			emulator.CertificateName,
			emulator.GarbageCONNACK,
		},
		"The device does the same as when the hub is unreachable, but an existing session continues.",
	},
	{
		"The hub sends invalid packets", onHub,
		[]emulator.Fault{emulator.Garbage, emulator.Oversize, emulator.EndlessLength},
		`The device ends a session in which it received something that is not MQTT, and tries hub and DPS, each at its
own pace.`,
	},
	{
		"The hub sends truncated packets", onHub, []emulator.Fault{emulator.Truncated},
		"The hub ends each session at once, which the device also takes for a second process with its identity.",
	},
	{
		"Subscriptions are refused", onHub, []emulator.Fault{emulator.SUBACKRefused, emulator.SUBACKLong},
		"A session needs its subscriptions, so the device ends it, and tries hub and DPS, each at its own pace.",
	},
	{
		"Readings are not acknowledged", onEither, []emulator.Fault{emulator.NoPUBACK},
		`The device leaves a hub that answers pings, but has not acknowledged a reading for 60 s. In the next session
it sends the unacknowledged readings again, although the hub may have stored them. The device does not count
such a session as recovered, so it asks DPS the next time.`,
	},
	{
		"Readings are acknowledged late", onEither, []emulator.Fault{emulator.LatePUBACK},
		"The session continues. A device that is closing waits for the acknowledgements, for five seconds at most.",
	},
	{
		"Sessions are cut before each acknowledgement", onEither, []emulator.Fault{emulator.CutBeforePUBACK},
		`The hub has stored the reading, and the device sends it again. The device takes this for a second process
with its identity.`,
	},
	{
		"The hub closes the session at a certain reading", onEither, []emulator.Fault{emulator.Poison},
		`The hub ends each session in which the device sends that reading. The device finds the reading by sending
the suspects one at a time, and quarantines it. The other readings arrive. A device that is closing ends
with the session.`,
	},
	{
		"The hub sends each message twice", onEither, []emulator.Fault{emulator.DuplicateMessage},
		`The handler sees each message once: the device remembers which messages it has completed, and only completes
them again.`,
	},
	{
		"The hub sends each desired property twice", onEither, []emulator.Fault{emulator.DuplicateDesired},
		"The handler sees each desired property once.",
	},
	{
		"The hub leaves out desired properties", onEither, []emulator.Fault{emulator.DesiredGap},
		"The version of the next desired property shows that one is missing, and the device reads the whole twin.",
	},
	{
		"Twin requests are not answered", onEither, []emulator.Fault{emulator.TwinMute},
		`Each request fails after 10 s, and the device repeats it after 1, 2, 4, 8, 16 and then 30 s. Telemetry
continues. The device receives desired properties once it has read the twin.`,
	},
	{
		"Twin requests are answered with errors", onEither,
		[]emulator.Fault{emulator.TwinThrottles, emulator.TwinError},
		"The device does the same as when twin requests are not answered, but each request fails at once.",
	},
	{
		"The hub ends a session when its token expires", onEither, []emulator.Fault{emulator.NoGrace},
		`Here a token is valid for one minute. The device renews it by a planned reconnect after 80 to 85 % of that
time, so the fault has no effect.`,
	},
	{
		"Every endpoint refuses the device", onDevice, []emulator.Fault{emulator.Reject},
		"The hub refuses the device's connections, and so does DPS.",
	},
	{
		"The device was disabled or deleted", onDevice, []emulator.Fault{emulator.Disabled, emulator.Deleted},
		`The session ends, and hub and DPS refuse the device. The device continues to try its hub.`,
	},
	{
		"The device was blocked", onDevice, []emulator.Fault{emulator.Blocked},
		"The session ends, and the hub refuses the device. DPS refuses it at the end of a registration.",
	},
	{
		"The device was moved", onEither, []emulator.Fault{emulator.Moved},
		`The device follows within the time of a registration, and returns after two minutes. In the row Failover,
the cloud moves the device to the hub that has failed.`,
	},
}

// A reason is why a fault does not show, so that the day is like a good one. No faults and no target stand for all.
type reason struct {
	faults []emulator.Fault
	on     string
	in     []machine.State
	words  string
}

// alive are the states but for Closing.
var alive = states[:len(states)-1]

var reasons = []reason{
	{nil, emulator.TargetDPS, []machine.State{machine.Connecting}, "DPS has answered already"},
	{nil, emulator.TargetDPS, []machine.State{machine.Connected}, "a connected device does not ask DPS"},
	{nil, emulator.TargetDPS, []machine.State{machine.Closing}, "a closing device does not ask DPS"},
	{
		[]emulator.Fault{
			emulator.Flaky, emulator.CertificateExpired, emulator.CertificateEarly, emulator.CertificateForeign,
			emulator.CertificateName,
			emulator.GarbageCONNACK, emulator.Reject,
		},
		"", []machine.State{machine.Connected, machine.Closing}, "the fault affects new connections only",
	},
	{
		[]emulator.Fault{emulator.SUBACKRefused, emulator.SUBACKLong}, "",
		[]machine.State{machine.Connected, machine.Closing},
		"the device has subscribed already",
	},
	{[]emulator.Fault{emulator.Slow}, "", []machine.State{machine.Connected}, "everything arrives, with a small delay"},
	{[]emulator.Fault{emulator.Flapping}, "", []machine.State{machine.Closing}, "closing ends before the delay"},
	{[]emulator.Fault{emulator.NoGrace}, "", []machine.State{machine.Closing}, "closing ends before the token expires"},
	{
		[]emulator.Fault{emulator.DuplicateMessage}, "", []machine.State{machine.Closing},
		"a closing device accepts no messages; they stay in the cloud",
	},
	{
		[]emulator.Fault{emulator.DuplicateDesired, emulator.DesiredGap}, "", []machine.State{machine.Closing},
		"a closing device accepts no desired properties; the next session reads them",
	},
	{
		[]emulator.Fault{emulator.DuplicateMessage}, "", alive,
		"the device completes a repeated message again, without its handler",
	},
	{
		[]emulator.Fault{emulator.DuplicateDesired}, "", alive,
		"the repeated property has the same version, so the device ignores it",
	},
	{[]emulator.Fault{emulator.LatePUBACK}, "", alive, "a throttling hub acknowledges late, which the device accepts"},
}
