package emulator

import (
	"slices"
	"strings"
)

// catalogue contains all faults, in the order of docs/emulator.md. A test compares the two.
var catalogue []faultKind

func init() {
	catalogue = slices.Concat(downFaults, networkFaults, certificateFaults, malformedBytes, messageFaults, twinFaults,
		loginFaults, operatorFaults, dpsFaults)
}

var (
	endpoints      = []string{TargetDPS, TargetHub}
	hubsAndDevices = []string{TargetHub, TargetDevice}
	everyone       = []string{TargetDPS, TargetHub, TargetDevice}
	onlyDPS        = []string{TargetDPS}
	onlyDevices    = []string{TargetDevice}
)

// newFault returns a fault without functions: the code that it affects looks it up. A parameter
// that ends with '!' is required. The parameter "chance" stands for count and probability.
func newFault(name Fault, on []string, description string, parameters ...string) faultKind {
	info := FaultInfo{Name: name, Description: description, Targets: on}
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

func (k faultKind) withInject(onInject func(*Cloud, target, *activeFault) error) faultKind {
	k.onInject = onInject
	return k
}

func (k faultKind) withClear(onClear func(target) error) faultKind {
	k.onClear = onClear
	return k
}

func (k faultKind) withAfterClear(afterClear func(target)) faultKind {
	k.afterClear = afterClear
	return k
}

func (k faultKind) inGroup(group string) faultKind {
	k.Group = group
	return k
}

var downFaults = []faultKind{
	newDownFault(FIN, "existing connections end with FIN; new connections are refused"),
	newDownFault(RST, "existing connections are reset; new connections are refused"),
	newDownFault(Refuse,
		"existing connections end with FIN; a new connection completes TLS, and its CONNECT gets "+
			"CONNACK 3", "chance"),
	newDownFault(Silence,
		"no data passes on existing connections, not even FIN; new connections are accepted, but the "+
			"TLS handshake is never answered"),
	newDownFault(BlackHole,
		"no data passes on existing connections, not even FIN; connection requests are never answered "+
			"(only on lab/memnet and Linux)"),
}

func newDownFault(how Fault, description string, parameters ...string) faultKind {
	down := func(c *Cloud, t target, _ *activeFault) error { return takeDown(c, t, how) }
	up := func(t target) error { return t.frontend.bringUp() }
	return newFault(how, endpoints, description, parameters...).inGroup(GroupDown).withInject(down).withClear(up)
}

var networkFaults = []faultKind{
	newFault(Slow, endpoints,
		"all data is delayed in both directions, except the TCP handshake: by the delay, by a random "+
			"time up to the jitter, and by the rate", "delay", "jitter", "rate").
		withInject(func(_ *Cloud, t target, a *activeFault) error { t.frontend.setShaping(&a.Params); return nil }).
		withAfterClear(func(t target) { t.frontend.setShaping(nil) }),
	newFault(Flaky, endpoints,
		"some new connections are reset at once, with the given probability", "probability!", "count"),
	newFault(Flapping, hubsAndDevices,
		"each session ends the delay after its CONNACK; existing sessions end the delay after the "+
			"injection", "delay", "chance").
		withInject(startFlapping).withAfterClear(target.stopFlapping),
}

var certificateFaults = []faultKind{
	newCertificateFault(CertificateExpired, "new connections get a certificate that has expired"),
	newCertificateFault(CertificateEarly, "new connections get a certificate that is not valid yet"),
	newCertificateFault(CertificateForeign, "new connections get a certificate of an unknown authority"),
	newCertificateFault(CertificateName, "new connections get a certificate for another name"),
}

func newCertificateFault(name Fault, description string) faultKind {
	return newFault(name, endpoints, description, "chance").inGroup("certificate")
}

var malformedBytes = []faultKind{
	newFault(GarbageCONNACK, endpoints,
		"CONNECT is answered with a packet of a reserved type instead of CONNACK, and the connection "+
			"ends", "chance"),
	newMalformedFault(Garbage,
		"a packet of a reserved type is sent, after CONNACK or at once on existing connections"),
	newMalformedFault(Truncated,
		"the beginning of a packet is sent, after CONNACK or at once on existing connections, and the "+
			"connection ends"),
	newMalformedFault(Oversize,
		"the header of a packet with a remaining length of 268,435,455 is sent, after CONNACK or at "+
			"once on existing connections; all later data is read as its body"),
	newMalformedFault(EndlessLength,
		"a packet header whose remaining length has five bytes is sent, after CONNACK or at once on "+
			"existing connections"),
	newFault(SUBACKRefused, endpoints,
		"SUBACK has the return code 0x80, and nothing is subscribed", "chance"),
	newFault(SUBACKLong, endpoints,
		"SUBACK has three return codes more than the SUBSCRIBE has filters", "chance"),
}

func newMalformedFault(name Fault, description string) faultKind {
	return newFault(name, endpoints, description, "chance").
		withInject(func(_ *Cloud, t target, _ *activeFault) error { t.frontend.sendMalformedToAll(name); return nil })
}

var messageFaults = []faultKind{
	newFault(NoPUBACK, hubsAndDevices,
		"messages are stored but not acknowledged; PINGREQ is answered", "chance"),
	newFault(LatePUBACK, hubsAndDevices,
		"messages are stored at once and acknowledged after the delay, in order; PINGREQ is answered at "+
			"once", "delay!", "chance"),
	newFault(CutBeforePUBACK, hubsAndDevices,
		"a message is stored, and then the connection ends without PUBACK", "chance"),
	newFault(Poison, hubsAndDevices,
		"a message that contains the mark in a property (`name=value`) or in its body is not stored, "+
			"and the connection ends", "mark!", "chance"),
}

var twinFaults = []faultKind{
	newFault(DuplicateMessage, hubsAndDevices,
		"a cloud-to-device message is sent twice, with two packet identifiers and the same message ID", "chance"),
	newFault(DuplicateDesired, hubsAndDevices, "a desired patch is sent twice", "chance"),
	newFault(DesiredGap, hubsAndDevices,
		"a desired patch is not sent, so that the version of the next patch leaves a gap", "chance"),
	newFault(TwinMute, hubsAndDevices,
		"twin requests are ignored: they are neither applied nor answered", "chance"),
	newFault(TwinThrottles, hubsAndDevices, "twin requests are answered with 429 and not applied",
		"retry-after", "chance"),
	newFault(TwinError, hubsAndDevices,
		"twin requests are answered with 500, or with the given status, and not applied", "status", "chance"),
}

var loginFaults = []faultKind{
	newFault(Reject, everyone,
		"every login is refused with CONNACK 5, even with a valid token; existing sessions continue", "chance"),
	newFault(NoGrace, hubsAndDevices,
		"a session ends when its token expires, or the delay later, instead of `Config.TokenGrace` "+
			"later", "delay").
		withInject(watchTokens).withAfterClear(target.watchTokens),
	newFault(Skew, endpoints,
		"the clock is ahead by the delay, or behind if the delay is negative; it decides when tokens "+
			"expire, and it shifts the timestamps in DPS's answers and in twin errors", "delay!").
		withInject(watchTokens).withAfterClear(target.watchTokens),
}

func watchTokens(_ *Cloud, t target, _ *activeFault) error { t.watchTokens(); return nil }

var operatorFaults = []faultKind{
	newFault(Disabled, onlyDevices,
		"the device's connection closes, its logins get CONNACK 5, and DPS answers 403; clearing the "+
			"fault enables the device again", "anew").
		withInject(func(_ *Cloud, t target, _ *activeFault) error {
			t.device.disconnect("the device was disabled")
			return nil
		}),
	newFault(Deleted, onlyDevices,
		"the device's connection closes, its logins get CONNACK 5, and DPS answers 404; its twin, queue "+
			"and subscriptions are deleted, and clearing the fault does not restore them", "anew").
		withInject(func(_ *Cloud, t target, _ *activeFault) error { t.device.eraseState(); return nil }),
	newFault(Blocked, onlyDevices,
		"the device's connection closes, its logins get CONNACK 5, and its registrations end as failed").
		withInject(func(_ *Cloud, t target, _ *activeFault) error {
			t.device.disconnect("the device was blocked")
			return nil
		}),
	newFault(Moved, hubsAndDevices,
		"the connection closes, logins at the old hub get CONNACK 5, and DPS assigns the given hub, or "+
			"the next one; clearing the fault moves the device back", "hub").
		withInject(injectMove),
}

var dpsFaults = []faultKind{
	newFault(DPSThrottles, onlyDPS, "all requests are answered with 429", "retry-after", "chance"),
	newFault(DPSThrottlesRegister, onlyDPS,
		"register requests are answered with 429; polls are not", "retry-after", "chance"),
	newFault(DPSThrottlesPoll, onlyDPS, "polls are answered with 429; register requests are not", "retry-after",
		"chance"),
	newFault(DPSUnavailable, onlyDPS,
		"all requests are answered with 503, or with the given status", "status", "retry-after", "chance"),
	newFault(DPSUnauthorized, onlyDPS, "all requests are answered with 401", "chance"),
	newFault(DPSForbids, onlyDPS, "DPS answers each request with 403, as for a disabled enrollment", "chance"),
	newFault(DPSForgets, onlyDPS,
		"all requests are answered with 404: there is no such enrollment", "chance"),
	newFault(DPSFails, onlyDPS, "registrations end as failed", "chance"),
	newFault(DPSDisabled, onlyDPS, "registrations end as disabled", "chance"),
	newFault(DPSUnassigned, onlyDPS, "registrations end as unassigned", "chance"),
	newFault(DPSHubless, onlyDPS, "registrations end as assigned, but the answer names no hub", "chance"),
	newFault(DPSMisdirects, onlyDPS,
		"registrations end as assigned to the given hub or host, to which the device does not belong", "hub!",
		"chance"),
	newFault(DPSAlternates, onlyDPS,
		"each registration except the first moves the device to the other hub", "chance"),
	newFault(DPSMute, onlyDPS, "requests get a PUBACK but no answer", "chance"),
	newFault(DPSLingers, onlyDPS,
		"an assignment takes as long as the delay, and polls get 202 until then", "delay!", "chance"),
	newFault(DPSLateAnswers, onlyDPS, "all answers are sent after the delay", "delay!", "chance"),
	newFault(DPSWrongRID, onlyDPS, "answers have a `$rid` that no request had", "chance"),
	newFault(DPSNoOperationID, onlyDPS, "answers have no `operationId`", "chance"),
}
