package emulator

import (
	"slices"
	"strings"
)

// catalogue is every fault, in the order of docs/emulator.md, which a test compares with it.
var catalogue []faultKind

func init() {
	catalogue = slices.Concat(downFaults, networks, certificates, bytesOnTheWire, messages, twins, logins, operators, answersOfDPS)
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
func newFault(name Fault, on []string, sentence string, parameters ...string) faultKind {
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

func (k faultKind) withInject(begin func(*Cloud, target, *activeFault) error) faultKind {
	k.onInject = begin
	return k
}

func (k faultKind) withClear(end func(target) error) faultKind {
	k.onClear = end
	return k
}

func (k faultKind) withAfterClear(healed func(target)) faultKind {
	k.afterClear = healed
	return k
}

func (k faultKind) inGroup(group string) faultKind {
	k.Group = group
	return k
}

var downFaults = []faultKind{
	newDownFault(FIN, "connections end with FIN; connecting is refused"),
	newDownFault(RST, "connections are reset; connecting is refused"),
	newDownFault(Refuse, "connections end with FIN; connecting gets as far as TLS, then CONNACK 3", "chance"),
	newDownFault(Silence, "half-open: nothing passes on any connection, not even FIN; new ones are accepted, and the TLS hello is never answered"),
	newDownFault(BlackHole, "the same, but connecting is never answered at all (on lab/memnet and Linux)"),
}

func newDownFault(how Fault, sentence string, parameters ...string) faultKind {
	die := func(c *Cloud, t target, _ *activeFault) error { return takeDown(c, t, how) }
	return newFault(how, endpoints, sentence, parameters...).inGroup(GroupDown).withInject(die).withClear(func(t target) error { return t.frontend.bringUp() })
}

var networks = []faultKind{
	newFault(Slow, endpoints, "everything takes longer, each way, but for the TCP handshake: the delay, at most the jitter, and the bytes at the rate", "delay", "jitter", "rate").
		withInject(func(_ *Cloud, t target, a *activeFault) error { t.frontend.setShaping(&a.Params); return nil }).
		withAfterClear(func(t target) { t.frontend.setShaping(nil) }),
	newFault(Flaky, endpoints, "some new connections are reset at once: as many as the probability says", "probability!", "count"),
	newFault(Flapping, hubsAndDevices, "each connection ends the delay after its CONNACK; those that exist, the delay after the strike", "delay", "chance").
		withInject(startFlapping).withAfterClear(target.stopFlapping),
}

var certificates = []faultKind{
	newFault(CertificateExpired, endpoints, "new connections are shown a certificate that has expired", "chance").inGroup("certificate"),
	newFault(CertificateEarly, endpoints, "new connections are shown a certificate that is not valid yet", "chance").inGroup("certificate"),
	newFault(CertificateForeign, endpoints, "new connections are shown a certificate of an unknown authority", "chance").inGroup("certificate"),
	newFault(CertificateName, endpoints, "new connections are shown a certificate for another name", "chance").inGroup("certificate"),
}

var bytesOnTheWire = []faultKind{
	newFault(GarbageCONNACK, endpoints, "a login is answered with a packet of a reserved type instead of CONNACK, and the connection ends", "chance"),
	newMalformedFault(Garbage, "a packet of a reserved type comes, behind CONNACK or at once"),
	newMalformedFault(Truncated, "a packet begins, behind CONNACK or at once, and the connection ends in its middle"),
	newMalformedFault(Oversize, "a packet with a remaining length of 268,435,455 begins, behind CONNACK or at once, and whatever follows is its body"),
	newMalformedFault(EndlessLength, "a packet comes whose remaining length has five bytes, behind CONNACK or at once"),
	newFault(SUBACKRefused, endpoints, "SUBACK says 0x80, and nothing is subscribed", "chance"),
	newFault(SUBACKLong, endpoints, "SUBACK has three codes too many", "chance"),
}

func newMalformedFault(name Fault, sentence string) faultKind {
	return newFault(name, endpoints, sentence, "chance").
		withInject(func(_ *Cloud, t target, _ *activeFault) error { t.frontend.sendMalformedToAll(name); return nil })
}

var messages = []faultKind{
	newFault(NoPUBACK, hubsAndDevices, "messages are stored and not acknowledged; PINGs are answered", "chance"),
	newFault(LatePUBACK, hubsAndDevices, "messages are stored and acknowledged later, in order; PINGs are answered in time", "delay!", "chance"),
	newFault(CutBeforePUBACK, hubsAndDevices, "a message is stored, then the connection ends without PUBACK", "chance"),
	newFault(Poison, hubsAndDevices, "a message with the mark in a property (`name=value`) or its body is not stored and ends the connection", "mark!", "chance"),
}

var twins = []faultKind{
	newFault(DuplicateMessage, hubsAndDevices, "a cloud-to-device message comes twice, with another packet identifier and the same message ID", "chance"),
	newFault(DuplicateDesired, hubsAndDevices, "a desired patch comes twice", "chance"),
	newFault(DesiredGap, hubsAndDevices, "a desired patch does not come, so that the next one's version leaves a gap", "chance"),
	newFault(TwinMute, hubsAndDevices, "twin requests vanish: nothing is applied and nothing is answered", "chance"),
	newFault(TwinThrottles, hubsAndDevices, "twin requests are answered 429 and not applied", "retry-after", "chance"),
	newFault(TwinError, hubsAndDevices, "twin requests are answered 500, or with another status, and not applied", "status", "chance"),
}

var logins = []faultKind{
	newFault(Reject, everyone, "every login gets CONNACK 5, however good its token; who is connected stays", "chance"),
	newFault(NoGrace, hubsAndDevices, "a connection ends when its token expires, or the delay later, and not only after `Config.TokenGrace`", "delay").
		withInject(watchTokens).withAfterClear(target.watchTokens),
	newFault(Skew, endpoints, "the clock is ahead by the delay, or behind if it is negative: tokens expire by it, the timestamps of DPS's answers and of a twin's errors are shifted", "delay!").
		withInject(watchTokens).withAfterClear(target.watchTokens),
}

func watchTokens(_ *Cloud, t target, _ *activeFault) error { t.watchTokens(); return nil }

var operators = []faultKind{
	newFault(Disabled, onlyDevices, "its socket closes without a reason, CONNACK 5 from then on, DPS answers 403; healed, it is enabled again", "anew").
		withInject(func(_ *Cloud, t target, _ *activeFault) error {
			t.device.disconnect("the device was disabled")
			return nil
		}),
	newFault(Deleted, onlyDevices, "the same, and DPS answers 404; its twin, queue and subscriptions are gone, healed or not", "anew").
		withInject(func(_ *Cloud, t target, _ *activeFault) error { t.device.eraseState(); return nil }),
	newFault(Blocked, onlyDevices, "the same, and a registration fails").
		withInject(func(_ *Cloud, t target, _ *activeFault) error {
			t.device.disconnect("the device was blocked")
			return nil
		}),
	newFault(Moved, hubsAndDevices, "its socket closes without a reason, CONNACK 5 there, and DPS assigns the given hub, or the next one; healed, it is moved back", "hub").
		withInject(injectMove),
}

var answersOfDPS = []faultKind{
	newFault(DPSThrottles, onlyDPS, "every request is answered 429", "retry-after", "chance"),
	newFault(DPSThrottlesRegister, onlyDPS, "registering is answered 429, polling is not", "retry-after", "chance"),
	newFault(DPSThrottlesPoll, onlyDPS, "polling is answered 429, registering is not", "retry-after", "chance"),
	newFault(DPSUnavailable, onlyDPS, "every request is answered 503, or with another status", "status", "retry-after", "chance"),
	newFault(DPSUnauthorized, onlyDPS, "every request is answered 401", "chance"),
	newFault(DPSForbids, onlyDPS, "every request is answered 403: the enrollment is disabled", "chance"),
	newFault(DPSForgets, onlyDPS, "every request is answered 404: there is no enrollment", "chance"),
	newFault(DPSFails, onlyDPS, "the registration ends as failed", "chance"),
	newFault(DPSDisabled, onlyDPS, "the registration ends as disabled", "chance"),
	newFault(DPSUnassigned, onlyDPS, "the registration ends as unassigned", "chance"),
	newFault(DPSHubless, onlyDPS, "the registration ends as assigned, and no hub is named", "chance"),
	newFault(DPSMisdirects, onlyDPS, "the registration ends as assigned to the given hub, or whatever host that is, where the device does not belong", "hub!", "chance"),
	newFault(DPSAlternates, onlyDPS, "each registration but the first moves the device to the other hub", "chance"),
	newFault(DPSMute, onlyDPS, "requests get their PUBACK and no answer", "chance"),
	newFault(DPSLingers, onlyDPS, "an assignment takes as long as the delay, and polls get 202 until then", "delay!", "chance"),
	newFault(DPSLateAnswers, onlyDPS, "every answer comes later by the delay", "delay!", "chance"),
	newFault(DPSWrongRID, onlyDPS, "answers have a `$rid` that nobody asked with", "chance"),
	newFault(DPSNoOperationID, onlyDPS, "answers have no `operationId`", "chance"),
}
