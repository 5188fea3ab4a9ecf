package emulator

import "slices"

// The faults of an endpoint that are told apart here; the others' names stand with what they do.
const Reject Fault = "reject"

var (
	endpoints      = []string{OnDPS, OnHub}
	onlyDPS        = []string{OnDPS}
	hubsAndDevices = []string{OnHub, OnDevice}
)

// catalogue is every fault, in the order of docs/emulator.md, which a test compares with it.
var catalogue []faultKind

func init() {
	catalogue = slices.Concat(deaths, networks, unsteady, certificates, bytesOnTheWire, messages, twins, logins, operators, answersOfDPS)
}

var deaths = []faultKind{
	deadly(FIN, "connections end with FIN; connecting is refused"),
	deadly(RST, "connections are reset; connecting is refused"),
	deadly(Refuse, "connections end with FIN; connecting gets as far as TLS, then CONNACK 3", "count", "probability"),
	deadly(Silence, "half-open: nothing passes on any connection, not even FIN; new ones are accepted, and the TLS hello is never answered"),
	deadly(BlackHole, "the same, but connecting is never answered at all (on lab/memnet and Linux)"),
}

func deadly(how Kill, sentence string, parameters ...string) faultKind {
	return faultKind{
		FaultInfo: FaultInfo{how, sentence, endpoints, parameters},
		group:     death,
		begin:     func(c *Cloud, t target, _ *affliction) error { return die(c, t, how) },
		end:       func(_ *Cloud, t target) error { return t.door.revive() },
	}
}

var networks = []faultKind{
	{
		FaultInfo: FaultInfo{Slow, "everything takes longer, each way, but for the TCP handshake: the delay, at most the jitter, and the bytes at the rate", endpoints, []string{"delay", "jitter", "rate"}},
		begin:     func(_ *Cloud, t target, a *affliction) error { t.door.slow(&a.Params); return nil },
		end:       func(_ *Cloud, t target) error { t.door.slow(nil); return nil },
	},
}

var unsteady = []faultKind{
	{FaultInfo: FaultInfo{Flaky, "some new connections are reset at once: as many as the probability says", endpoints, chance}, need: []string{"probability"}},
	{
		FaultInfo: FaultInfo{Flapping, "each connection ends the delay after its CONNACK; those that exist, the delay after the strike", hubsAndDevices, append([]string{"delay"}, chance...)},
		begin: func(_ *Cloud, t target, _ *affliction) error {
			for _, s := range t.sessions() {
				s.flap()
			}
			return nil
		},
		healed: target.steady,
	},
}

var operators = []faultKind{
	barring(Disabled, "its socket closes without a reason, CONNACK 5 from then on, DPS answers 403; healed, it is enabled again", "anew"),
	barring(Deleted, "the same, and DPS answers 404; its twin, queue and subscriptions are gone, healed or not", "anew"),
	barring(Blocked, "the same, and a registration fails"),
	{
		FaultInfo: FaultInfo{Moved, "its socket closes without a reason, CONNACK 5 there, and DPS assigns the given hub, or the next one; healed, it is moved back", hubsAndDevices, []string{"hub"}},
		begin:     moveAway,
	},
}

func barring(name Fault, sentence string, parameters ...string) faultKind {
	return faultKind{
		FaultInfo: FaultInfo{name, sentence, []string{OnDevice}, parameters},
		begin: func(_ *Cloud, t target, _ *affliction) error {
			if name == Deleted {
				t.device.erase()
			} else {
				t.device.expel("the device was " + string(name))
			}
			return nil
		},
	}
}

var certificates = []faultKind{
	certificate(CertificateExpired, "new connections are shown a certificate that has expired"),
	certificate(CertificateEarly, "new connections are shown a certificate that is not valid yet"),
	certificate(CertificateForeign, "new connections are shown a certificate of an unknown authority"),
	certificate(CertificateName, "new connections are shown a certificate for another name"),
}

func certificate(name Fault, sentence string) faultKind {
	return faultKind{FaultInfo: FaultInfo{name, sentence, endpoints, chance}, group: "certificate"}
}

var bytesOnTheWire = []faultKind{
	{FaultInfo: FaultInfo{GarbageCONNACK, "a login is answered with a packet of a reserved type instead of CONNACK, and the connection ends", endpoints, chance}},
	scrawled(Garbage, "a packet of a reserved type comes, behind CONNACK or at once"),
	scrawled(Truncated, "a packet begins, behind CONNACK or at once, and the connection ends in its middle"),
	scrawled(Oversize, "a packet with a remaining length of 268,435,455 begins, behind CONNACK or at once, and whatever follows is its body"),
	scrawled(EndlessLength, "a packet comes whose remaining length has five bytes, behind CONNACK or at once"),
	{FaultInfo: FaultInfo{SUBACKRefused, "SUBACK says 0x80, and nothing is subscribed", endpoints, chance}},
	{FaultInfo: FaultInfo{SUBACKLong, "SUBACK has three codes too many", endpoints, chance}},
}

func scrawled(name Fault, sentence string) faultKind {
	return faultKind{
		FaultInfo: FaultInfo{name, sentence, endpoints, chance},
		begin:     func(_ *Cloud, t target, _ *affliction) error { t.door.scrawlAll(name); return nil },
	}
}

var messages = []faultKind{
	atHubs(NoPUBACK, "messages are stored and not acknowledged; PINGs are answered", chance...),
	atHubs(LatePUBACK, "messages are stored and acknowledged later, in order; PINGs are answered in time", append([]string{"delay"}, chance...)...).needs("delay"),
	atHubs(CutBeforePUBACK, "a message is stored, then the connection ends without PUBACK", chance...),
	atHubs(Poison, "a message with the mark in a property (`name=value`) or its body is not stored and ends the connection", append([]string{"mark"}, chance...)...).needs("mark"),
}

var twins = []faultKind{
	atHubs(DuplicateMessage, "a cloud-to-device message comes twice, with another packet identifier and the same message ID", chance...),
	atHubs(DuplicateDesired, "a desired patch comes twice", chance...),
	atHubs(DesiredGap, "a desired patch does not come, so that the next one's version leaves a gap", chance...),
	atHubs(TwinMute, "twin requests vanish: nothing is applied and nothing is answered", chance...),
	atHubs(TwinThrottles, "twin requests are answered 429 and not applied", append([]string{"retry-after"}, chance...)...),
	atHubs(TwinError, "twin requests are answered 500, or with another status, and not applied", append([]string{"status"}, chance...)...),
}

// atHubs is a fault that is looked up where it strikes.
func atHubs(name Fault, sentence string, parameters ...string) faultKind {
	return faultKind{FaultInfo: FaultInfo{name, sentence, hubsAndDevices, parameters}}
}

func (k faultKind) needs(parameters ...string) faultKind {
	k.need = parameters
	return k
}

var logins = []faultKind{
	{FaultInfo: FaultInfo{Reject, "every login gets CONNACK 5, however good its token; who is connected stays", append(slices.Clone(endpoints), OnDevice), chance}},
	{
		FaultInfo: FaultInfo{NoGrace, "a connection ends when its token expires, or the delay later, and not only after `Config.TokenGrace`", hubsAndDevices, []string{"delay"}},
		begin:     func(_ *Cloud, t target, _ *affliction) error { t.watchTokens(); return nil },
		healed:    target.watchTokens,
	},
	{
		FaultInfo: FaultInfo{Skew, "the clock is ahead by the delay, or behind if it is negative: tokens expire by it, DPS's timestamps are shifted", endpoints, []string{"delay"}},
		need:      []string{"delay"},
		begin:     func(_ *Cloud, t target, _ *affliction) error { t.watchTokens(); return nil },
		healed:    target.watchTokens,
	},
}

var chance = []string{"count", "probability"}

var answersOfDPS = []faultKind{
	answerOfDPS(DPSThrottles, "every request is answered 429", "retry-after"),
	answerOfDPS(DPSThrottlesRegister, "registering is answered 429, polling is not", "retry-after"),
	answerOfDPS(DPSThrottlesPoll, "polling is answered 429, registering is not", "retry-after"),
	answerOfDPS(DPSUnavailable, "every request is answered 503, or with another status from 500 on", "status", "retry-after"),
	answerOfDPS(DPSUnauthorized, "every request is answered 401"),
	answerOfDPS(DPSForbids, "every request is answered 403: the enrollment is disabled"),
	answerOfDPS(DPSForgets, "every request is answered 404: there is no enrollment"),
	answerOfDPS(DPSFails, "the registration ends as failed"),
	answerOfDPS(DPSDisabled, "the registration ends as disabled"),
	answerOfDPS(DPSUnassigned, "the registration ends as unassigned"),
	answerOfDPS(DPSHubless, "the registration ends as assigned, and no hub is named"),
	answerOfDPS(DPSMisdirects, "the registration ends as assigned to the given hub, or whatever host that is, where the device does not belong", "hub").needs("hub"),
	answerOfDPS(DPSAlternates, "each registration but the first moves the device to the other hub"),
	answerOfDPS(DPSMute, "requests get their PUBACK and no answer"),
	answerOfDPS(DPSLingers, "an assignment takes as long as the delay, and polls get 202 until then", "delay").needs("delay"),
	answerOfDPS(DPSLateAnswers, "every answer comes later by the delay", "delay").needs("delay"),
	answerOfDPS(DPSWrongRID, "answers have a `$rid` that nobody asked with"),
	answerOfDPS(DPSNoOperationID, "answers have no `operationId`"),
}

func answerOfDPS(name DPSFault, sentence string, parameters ...string) faultKind {
	return faultKind{FaultInfo: FaultInfo{name, sentence, onlyDPS, append(slices.Clone(chance), parameters...)}}
}
