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
		"DPS cannot be reached or makes no sense", onDPS, []emulator.Fault{
			emulator.FIN, emulator.RST, emulator.Refuse, emulator.CertificateExpired, emulator.CertificateEarly,
			emulator.CertificateForeign, emulator.CertificateName, emulator.GarbageCONNACK, emulator.Garbage, emulator.Truncated,
			emulator.Oversize, emulator.EndlessLength, emulator.SUBACKRefused, emulator.SUBACKLong, emulator.DPSUnavailable,
			emulator.DPSNoOperationID,
		},
		`A device without a hub asks again, after at most 1, 2, 4, 8, 16, 32 and then 60 s. One that has lost its hub
tries the hub and DPS in turn, with the same waits. One that has its hub does not notice.`,
	},
	{
		"DPS swallows connections", onDPS, []emulator.Fault{emulator.Silence, emulator.BlackHole},
		"The same, but each attempt ends only after 5 s.",
	},
	{
		"DPS is slow", onDPS, []emulator.Fault{emulator.Slow},
		"A registration takes longer, because it needs at least five round trips.",
	},
	{
		"DPS resets most connections", onDPS, []emulator.Fault{emulator.Flaky},
		"The device asks until it gets through.",
	},
	{
		"DPS refuses the device", onDPS, []emulator.Fault{
			emulator.Reject, emulator.Skew, emulator.DPSUnauthorized, emulator.DPSForbids, emulator.DPSForgets,
		},
		`Only an operator can change that, so DPS is left alone for at most 1, 2, 4, 8 and then 15 minutes, and for half
of that at least. A device without a hub waits in Unprovisioned. One that has a hub goes on trying it.`,
	},
	{
		"A registration ends without a hub", onDPS,
		[]emulator.Fault{emulator.DPSFails, emulator.DPSDisabled, emulator.DPSUnassigned},
		"This is a refusal, too. It comes with the second answer.",
	},
	{
		"DPS throttles", onDPS, []emulator.Fault{emulator.DPSThrottles, emulator.DPSThrottlesRegister},
		`Where the answer does not say how long, DPS is left alone for at most 2, 4, 8, … 120 s, and for half of that at
least. A device that has a hub goes on trying it.`,
	},
	{
		"DPS throttles polls", onDPS, []emulator.Fault{emulator.DPSThrottlesPoll},
		"The same, but at the second request.",
	},
	{
		"DPS names no hub", onDPS, []emulator.Fault{emulator.DPSHubless},
		"The device treats the answer as a failure of DPS.",
	},
	{
		"DPS names a hub that is none", onDPS, []emulator.Fault{emulator.DPSMisdirects},
		`The device tries the host that DPS names, and DPS again, because only DPS can replace an assignment.`,
	},
	{
		"DPS changes its mind", onDPS, []emulator.Fault{emulator.DPSAlternates},
		`Each registration moves the device to the other hub, and it follows. After a failover, ` +
			`that is first the failed one.`,
	},
	{
		"DPS does not answer", onDPS, []emulator.Fault{emulator.DPSMute, emulator.DPSWrongRID},
		"A request ends after 10 s without its answer. An answer to another request does not count.",
	},
	{
		"An assignment takes long", onDPS, []emulator.Fault{emulator.DPSLingers},
		"The device polls as often as DPS says, for two minutes at most.",
	},
	{
		"DPS answers late", onDPS, []emulator.Fault{emulator.DPSLateAnswers},
		"The device waits for up to 10 s, twice here.",
	},
	{
		"The hub is gone", onHub, []emulator.Fault{emulator.FIN, emulator.RST, emulator.Refuse, emulator.Skew},
		`A session that ended: the same hub, once, at once; then DPS, at once. As DPS names the same hub, hub and DPS
come in turn, after at most 1, 2, 4, 8, 16, 32 and then 60 s. A hub whose clock is two hours ahead takes good
tokens for expired. Closing does not connect again: what had no acknowledgement is reported as lost.`,
	},
	{
		"The hub falls silent", onHub, []emulator.Fault{emulator.Silence, emulator.BlackHole},
		`The device notices it when nothing has come for 12 s. The attempt at the same hub then ends after 2 s, later ones
after 5 s. Closing takes its five seconds.`,
	},
	{
		"The hub is slow", onHub, []emulator.Fault{emulator.Slow},
		"Everything goes on. Connecting takes three round trips.",
	},
	{
		"The hub resets most connections", onHub, []emulator.Fault{emulator.Flaky},
		"The device tries until it gets through, and DPS in between.",
	},
	{
		"Sessions end after three seconds", onEither, []emulator.Fault{emulator.Flapping},
		`Hub and DPS in turn. Four sessions that the hub ended so soon within two minutes look like a second process with
the same identity: the device says so and waits for at most 1, 2, 4, 8 and then 15 minutes, and for half of that
at least.`,
	},
	{
		"The hub lets nobody in", onHub, []emulator.Fault{
			emulator.CertificateExpired, emulator.CertificateEarly, emulator.CertificateForeign, emulator.CertificateName,
			emulator.GarbageCONNACK, emulator.Reject,
		},
		"The same as if the hub were gone, but a session that exists goes on.",
	},
	{
		"The hub sends nonsense", onHub, []emulator.Fault{emulator.Garbage, emulator.Oversize, emulator.EndlessLength},
		"The device ends a session in which something came that is not MQTT, and tries hub and DPS in turn.",
	},
	{
		"Packets are cut short", onHub, []emulator.Fault{emulator.Truncated},
		"The hub ends each session at once, which also looks like a second process.",
	},
	{
		"Subscriptions are refused", onHub, []emulator.Fault{emulator.SUBACKRefused, emulator.SUBACKLong},
		"A session without its subscriptions is of no use, so the device tries hub and DPS in turn.",
	},
	{
		"Readings are not acknowledged", onEither, []emulator.Fault{emulator.NoPUBACK},
		`The device leaves a hub that answers pings, but has not acknowledged a reading for 60 s. It sends again what that hub
may have stored. Such a session does not count as recovered, so DPS is asked the next time.`,
	},
	{
		"Readings are acknowledged late", onEither, []emulator.Fault{emulator.LatePUBACK},
		"Nothing happens. Closing waits, for five seconds at most.",
	},
	{
		"Sessions are cut before each acknowledgement", onEither, []emulator.Fault{emulator.CutBeforePUBACK},
		`The reading was stored and is sent again. To the device this looks like a second process.`,
	},
	{
		"A reading poisons the hub", onEither, []emulator.Fault{emulator.Poison},
		`The hub ends each session in which the reading is sent, until the device has found it by sending suspects alone. The
device quarantines it, and the other readings arrive. Closing ends with the session.`,
	},
	{
		"Messages come twice", onEither, []emulator.Fault{emulator.DuplicateMessage},
		"They are handled once: the device remembers what it has completed, and completes it again.",
	},
	{
		"Desired properties come twice", onEither, []emulator.Fault{emulator.DuplicateDesired},
		"They are handled once.",
	},
	{
		"Desired properties do not come", onEither, []emulator.Fault{emulator.DesiredGap},
		"The next one that comes has a version that shows the gap, and the device reads the whole twin.",
	},
	{
		"Twin requests are not answered", onEither, []emulator.Fault{emulator.TwinMute},
		`Each request ends after 10 s and is repeated after 1, 2, 4, 8, 16 and then 30 s. Telemetry goes on, and desired
properties are received unless the twin has not been read yet.`,
	},
	{
		"Twin requests are answered with errors", onEither, []emulator.Fault{emulator.TwinThrottles, emulator.TwinError},
		"The same, without the 10 s.",
	},
	{
		"Tokens end at their second", onEither, []emulator.Fault{emulator.NoGrace},
		`The token's life is a minute here. It is renewed after 80 to 85 % of it, by a planned reconnect, so the fault
has no effect.`,
	},
	{
		"The device alone is let in nowhere", onDevice, []emulator.Fault{emulator.Reject},
		"The hub does not let it in, and DPS refuses it.",
	},
	{
		"The device was disabled or deleted", onDevice, []emulator.Fault{emulator.Disabled, emulator.Deleted},
		`Its session ends, the hub does not let it in and DPS refuses it, as above. The device goes on trying its hub.`,
	},
	{
		"The device was blocked", onDevice, []emulator.Fault{emulator.Blocked},
		"The same, but DPS says so at the end of a registration.",
	},
	{
		"The device was moved", onEither, []emulator.Fault{emulator.Moved},
		`It follows within the time of a registration, and back after two minutes. In Failover it is moved to the hub
that has failed.`,
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
	{nil, emulator.TargetDPS, []machine.State{machine.Connected}, "a device that is connected asks DPS nothing"},
	{nil, emulator.TargetDPS, []machine.State{machine.Closing}, "closing asks DPS nothing"},
	{
		[]emulator.Fault{
			emulator.Flaky, emulator.CertificateExpired, emulator.CertificateEarly, emulator.CertificateForeign,
			emulator.CertificateName,
			emulator.GarbageCONNACK, emulator.Reject,
		},
		"", []machine.State{machine.Connected, machine.Closing}, "it affects new connections only",
	},
	{
		[]emulator.Fault{emulator.SUBACKRefused, emulator.SUBACKLong}, "",
		[]machine.State{machine.Connected, machine.Closing},
		"the device has subscribed already",
	},
	{[]emulator.Fault{emulator.Slow}, "", []machine.State{machine.Connected}, "everything arrives, a little later"},
	{[]emulator.Fault{emulator.Flapping}, "", []machine.State{machine.Closing}, "closing ends before the delay"},
	{[]emulator.Fault{emulator.NoGrace}, "", []machine.State{machine.Closing}, "closing ends before the token expires"},
	{
		[]emulator.Fault{emulator.DuplicateMessage}, "", []machine.State{machine.Closing},
		"closing takes no messages; what comes stays in the cloud",
	},
	{
		[]emulator.Fault{emulator.DuplicateDesired, emulator.DesiredGap}, "", []machine.State{machine.Closing},
		"closing takes no desired properties; the next session reads them",
	},
	{[]emulator.Fault{emulator.DuplicateMessage}, "", alive, "a completed message is completed again, and not handled"},
	{[]emulator.Fault{emulator.DuplicateDesired}, "", alive, "the second has the version of the first, and is ignored"},
	{[]emulator.Fault{emulator.LatePUBACK}, "", alive, "a hub that throttles acknowledges late, and that is no fault"},
}
