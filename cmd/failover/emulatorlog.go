//go:build !nolab

package main

import (
	"fmt"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

// eventLine returns an event as a line of the emulator's log: the time, the place, the device, the kind
// and the rest. A dash stands for no place and for no device.
func eventLine(e emulator.Event) string {
	place := e.Hub
	if place != "" && place != emulator.TargetDPS {
		place = "hub " + place
	}
	line := fmt.Sprintf("%s %-6s %-10s %-12s %s", e.Time.Format("15:04:05.000"), orDash(place), orDash(e.Device),
		e.Kind, withoutSubject(e, place))
	return strings.TrimRight(line, " ")
}

// withoutSubject returns the text of an event without the device and the place with which the
// sentences of some kinds begin, because the line has both already.
func withoutSubject(e emulator.Event, place string) string {
	switch e.Kind {
	case emulator.KindViolation, emulator.KindNote:
		if text, ok := strings.CutPrefix(e.Text, e.Device+" at "+place+" "); ok {
			return text
		}
		return strings.TrimPrefix(e.Text, e.Device+" ")
	case emulator.KindLizard:
		return strings.TrimPrefix(e.Text, place+": ")
	}
	return e.Text
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
