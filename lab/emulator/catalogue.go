package emulator

import (
	"slices"
	"strings"
)

// catalogue is every fault, in the order of docs/emulator.md, which a test compares with it.
var catalogue []faultKind

func init() {
	catalogue = slices.Concat(deaths, networks, certificates, bytesOnTheWire, messages, twins, logins, operators, answersOfDPS)
}

var (
	endpoints      = []string{TargetDPS, TargetHub}
	hubsAndDevices = []string{TargetHub, TargetDevice}
	everyone       = []string{TargetDPS, TargetHub, TargetDevice}
	onlyDPS        = []string{TargetDPS}
	onlyDevices    = []string{TargetDevice}
)

// entry is a fault that is looked up where it strikes. A parameter with a '!' behind it must be given; "chance" stands for the
// two that say how often.
func entry(name Fault, on []string, sentence string, parameters ...string) faultKind {
	info := FaultInfo{Name: name, Description: sentence, Targets: on}
	for _, p := range parameters {
		if p == "chance" {
			info.Parameters = append(info.Parameters, "count", "probability")
			continue
		}
		p, required := strings.CutSuffix(p, "!")
		info.Parameters = append(info.Parameters, p)
		if required {
			info.Required = append(info.Required, p)
		}
	}
	return faultKind{FaultInfo: info}
}

func (k faultKind) begins(begin func(*Cloud, target, *affliction) error) faultKind {
	k.begin = begin
	return k
}

func (k faultKind) ends(end func(target) error) faultKind {
	k.end = end
	return k
}

func (k faultKind) afterwards(healed func(target)) faultKind {
	k.healed = healed
	return k
}

func (k faultKind) oneOf(group string) faultKind {
	k.Group = group
	return k
}

var deaths = []faultKind{
	deadly(FIN, "connections end with FIN; connecting is refused"),
	deadly(RST, "connections are reset; connecting is refused"),
	deadly(Refuse, "connections end with FIN; connecting gets as far as TLS, then CONNACK 3", "chance"),
	deadly(Silence, "half-open: nothing passes on any connection, not even FIN; new ones are accepted, and the TLS hello is never answered"),
	deadly(BlackHole, "the same, but connecting is never answered at all (on lab/memnet and Linux)"),
}

func deadly(how Fault, sentence string, parameters ...string) faultKind {
	die := func(c *Cloud, t target, _ *affliction) error { return die(c, t, how) }
	return entry(how, endpoints, sentence, parameters...).oneOf(GroupDown).begins(die).ends(func(t target) error { return t.door.revive() })
}

var networks = []faultKind{
	entry(Slow, endpoints, "everything takes longer, each way, but for the TCP handshake: the delay, at most the jitter, and the bytes at the rate", "delay", "jitter", "rate").
		begins(func(_ *Cloud, t target, a *affliction) error { t.door.slow(&a.Params); return nil }).
		afterwards(func(t target) { t.door.slow(nil) }),
	entry(Flaky, endpoints, "some new connections are reset at once: as many as the probability says", "probability!", "count"),
	entry(Flapping, hubsAndDevices, "each connection ends the delay after its CONNACK; those that exist, the delay after the strike", "delay", "chance").
		begins(flapAll).afterwards(target.steady),
}

var certificates = []faultKind{
	entry(CertificateExpired, endpoints, "new connections are shown a certificate that has expired", "chance").oneOf("certificate"),
	entry(CertificateEarly, endpoints, "new connections are shown a certificate that is not valid yet", "chance").oneOf("certificate"),
	entry(CertificateForeign, endpoints, "new connections are shown a certificate of an unknown authority", "chance").oneOf("certificate"),
	entry(CertificateName, endpoints, "new connections are shown a certificate for another name", "chance").oneOf("certificate"),
}

var bytesOnTheWire = []faultKind{
	entry(GarbageCONNACK, endpoints, "a login is answered with a packet of a reserved type instead of CONNACK, and the connection ends", "chance"),
	scrawled(Garbage, "a packet of a reserved type comes, behind CONNACK or at once"),
	scrawled(Truncated, "a packet begins, behind CONNACK or at once, and the connection ends in its middle"),
	scrawled(Oversize, "a packet with a remaining length of 268,435,455 begins, behind CONNACK or at once, and whatever follows is its body"),
	scrawled(EndlessLength, "a packet comes whose remaining length has five bytes, behind CONNACK or at once"),
	entry(SUBACKRefused, endpoints, "SUBACK says 0x80, and nothing is subscribed", "chance"),
	entry(SUBACKLong, endpoints, "SUBACK has three codes too many", "chance"),
}

func scrawled(name Fault, sentence string) faultKind {
	return entry(name, endpoints, sentence, "chance").
		begins(func(_ *Cloud, t target, _ *affliction) error { t.door.scrawlAll(name); return nil })
}

var messages = []faultKind{
	entry(NoPUBACK, hubsAndDevices, "messages are stored and not acknowledged; PINGs are answered", "chance"),
	entry(LatePUBACK, hubsAndDevices, "messages are stored and acknowledged later, in order; PINGs are answered in time", "delay!", "chance"),
	entry(CutBeforePUBACK, hubsAndDevices, "a message is stored, then the connection ends without PUBACK", "chance"),
	entry(Poison, hubsAndDevices, "a message with the mark in a property (`name=value`) or its body is not stored and ends the connection", "mark!", "chance"),
}

var twins = []faultKind{
	entry(DuplicateMessage, hubsAndDevices, "a cloud-to-device message comes twice, with another packet identifier and the same message ID", "chance"),
	entry(DuplicateDesired, hubsAndDevices, "a desired patch comes twice", "chance"),
	entry(DesiredGap, hubsAndDevices, "a desired patch does not come, so that the next one's version leaves a gap", "chance"),
	entry(TwinMute, hubsAndDevices, "twin requests vanish: nothing is applied and nothing is answered", "chance"),
	entry(TwinThrottles, hubsAndDevices, "twin requests are answered 429 and not applied", "retry-after", "chance"),
	entry(TwinError, hubsAndDevices, "twin requests are answered 500, or with another status, and not applied", "status", "chance"),
}

var logins = []faultKind{
	entry(Reject, everyone, "every login gets CONNACK 5, however good its token; who is connected stays", "chance"),
	entry(NoGrace, hubsAndDevices, "a connection ends when its token expires, or the delay later, and not only after `Config.TokenGrace`", "delay").
		begins(watchTokens).afterwards(target.watchTokens),
	entry(Skew, endpoints, "the clock is ahead by the delay, or behind if it is negative: tokens expire by it, the timestamps of DPS's answers and of a twin's errors are shifted", "delay!").
		begins(watchTokens).afterwards(target.watchTokens),
}

func watchTokens(_ *Cloud, t target, _ *affliction) error { t.watchTokens(); return nil }

var operators = []faultKind{
	entry(Disabled, onlyDevices, "its socket closes without a reason, CONNACK 5 from then on, DPS answers 403; healed, it is enabled again", "anew").
		begins(func(_ *Cloud, t target, _ *affliction) error { t.device.expel("the device was disabled"); return nil }),
	entry(Deleted, onlyDevices, "the same, and DPS answers 404; its twin, queue and subscriptions are gone, healed or not", "anew").
		begins(func(_ *Cloud, t target, _ *affliction) error { t.device.erase(); return nil }),
	entry(Blocked, onlyDevices, "the same, and a registration fails").
		begins(func(_ *Cloud, t target, _ *affliction) error { t.device.expel("the device was blocked"); return nil }),
	entry(Moved, hubsAndDevices, "its socket closes without a reason, CONNACK 5 there, and DPS assigns the given hub, or the next one; healed, it is moved back", "hub").
		begins(moveAway),
}

var answersOfDPS = []faultKind{
	entry(DPSThrottles, onlyDPS, "every request is answered 429", "retry-after", "chance"),
	entry(DPSThrottlesRegister, onlyDPS, "registering is answered 429, polling is not", "retry-after", "chance"),
	entry(DPSThrottlesPoll, onlyDPS, "polling is answered 429, registering is not", "retry-after", "chance"),
	entry(DPSUnavailable, onlyDPS, "every request is answered 503, or with another status", "status", "retry-after", "chance"),
	entry(DPSUnauthorized, onlyDPS, "every request is answered 401", "chance"),
	entry(DPSForbids, onlyDPS, "every request is answered 403: the enrollment is disabled", "chance"),
	entry(DPSForgets, onlyDPS, "every request is answered 404: there is no enrollment", "chance"),
	entry(DPSFails, onlyDPS, "the registration ends as failed", "chance"),
	entry(DPSDisabled, onlyDPS, "the registration ends as disabled", "chance"),
	entry(DPSUnassigned, onlyDPS, "the registration ends as unassigned", "chance"),
	entry(DPSHubless, onlyDPS, "the registration ends as assigned, and no hub is named", "chance"),
	entry(DPSMisdirects, onlyDPS, "the registration ends as assigned to the given hub, or whatever host that is, where the device does not belong", "hub!", "chance"),
	entry(DPSAlternates, onlyDPS, "each registration but the first moves the device to the other hub", "chance"),
	entry(DPSMute, onlyDPS, "requests get their PUBACK and no answer", "chance"),
	entry(DPSLingers, onlyDPS, "an assignment takes as long as the delay, and polls get 202 until then", "delay!", "chance"),
	entry(DPSLateAnswers, onlyDPS, "every answer comes later by the delay", "delay!", "chance"),
	entry(DPSWrongRID, onlyDPS, "answers have a `$rid` that nobody asked with", "chance"),
	entry(DPSNoOperationID, onlyDPS, "answers have no `operationId`", "chance"),
}
