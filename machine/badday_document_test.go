package machine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/machine"
)

// preface is the beginning of docs/faults.md.
const preface = `# What the device does on each bad day

Written by ` + "`go test ./machine -run EachBadDay -update`" + ` from what the device did; do not edit. The same test
runs every fault each time, and fails if this document differs from what it saw.

Each of the emulator's faults ([emulator.md](emulator.md) describes them) is injected for two minutes, while the
device is in each of its six states. A fault is injected at DPS, at the device's hub, or for this one device at every
endpoint. Then the fault is cleared, and the device runs for five minutes more, unless it was closing. During the
whole test the device sends a reading every second and a reported property every ten seconds, and the cloud sends a
desired property and a message every ten seconds. With every fault, **in the end the device was Connected, and every
reading, property and message had arrived**, except a reading that no hub would accept. The device never made more
than 20 connections to DPS, or 25 to one hub, within a minute.

| Injected in | How |
|---|---|
| Unprovisioned | the program starts, and has no stored assignment |
| Provisioning, Connecting | the device enters that state for the first time |
| Connected | the device has been Connected for 30 s |
| Failover | hub A does not come back, and the cloud has moved the device to hub B, which gets the faults of a hub |
| Closing | the program closes the device while five readings and a reported property are in flight, and a message ` +
	`and a desired property arrive |

**A path** has a letter for each state, beginning with the one in which the fault was injected: U Unprovisioned,
P Provisioning, c Connecting, C Connected, F Failover, X Closing; ` + "`(PF)×9`" + ` is nine times Provisioning and
Failover. [events.md](events.md) defines the outcomes; a first connection has none. "Recovered" is the time from
the injection until the device was Connected and stayed so, and the hub that it used. The two columns of connections
count the attempts. All numbers are from fake time, in which only waiting takes time. The settings have their
defaults, with two exceptions: DPS takes a second to assign a hub, and a backlog is sent unpaced. A random wait is
always the middle of its range, so that a recovery after a long fault depends on where the attempts fall: an outage of
two minutes has waits of up to 24 s.
`

// reason is why the day is like a good one, or "" if it is not.
func (d badDay) reason() string {
	for _, r := range reasons {
		if (r.faults == nil || slices.Contains(r.faults, d.fault.Name)) && (r.on == "" || r.on == d.on) &&
			slices.Contains(r.in, d.in) {
			return r.words
		}
	}
	return ""
}

// document is docs/faults.md: an overview with a row for each fault and target, and what it refers to.
func document(t *testing.T, good *diary, bad []*diary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n## A good day\n\n%s", preface, good.table(good.days[0].on))
	b.WriteString(`
## All days

The columns of the states give the seconds from the injection until the device stayed Connected. For Closing, they
give the seconds until the device had ended, and how many of its five readings it reported as lost. "–" means that
the device was Connected all the time. [events.md](events.md) explains the causes.

| Fault | Injected at | Causes | Unprovisioned, s | Provisioning, s | Connecting, s | Connected, s | Failover, s |` +
		` Closing: s, readings lost | What happens |
|---|---|---|---|---|---|---|---|---|---|
`)
	for _, d := range bad {
		for _, on := range d.Targets {
			fmt.Fprintf(&b, "| %s | %s | %s |", d.Name, on, d.causes(on, good))
			for _, s := range d.on(on) {
				fmt.Fprintf(&b, " %s |", s.brief())
			}
			title := chapterOf(d.Name, on).title
			fmt.Fprintf(&b, " [%s](#%s) |\n", title, strings.ReplaceAll(strings.ToLower(title), " ", "-"))
		}
	}
	for _, c := range chapters {
		c.write(t, &b, bad)
	}
	return b.String()
}

// write writes a chapter, all of whose days have to be the same ones.
func (c chapter) write(t *testing.T, b *strings.Builder, bad []*diary) {
	t.Helper()
	var names, targets, tables []string
	for _, fault := range c.faults {
		names = append(names, "`"+string(fault)+parameters[fault].String()+"`")
		for _, d := range bad {
			for _, on := range c.on {
				if d.Name == fault {
					tables = append(tables, d.table(on))
				}
			}
		}
	}
	for _, on := range c.on {
		targets = append(targets, named[on])
	}
	if different := slices.Compact(tables); len(different) > 1 {
		t.Errorf("in %q not all days are the same:\n%s", c.title, strings.Join(different, "\n"))
	}
	fmt.Fprintf(b, "\n## %s\n\n%s on %s.\n\n%s\n\n%s",
		c.title, strings.Join(names, ", "), strings.Join(targets, " or "), c.text, tables[0])
}

var named = map[string]string{emulator.TargetDPS: "DPS", emulator.TargetHub: "the hub",
	emulator.TargetDevice: "the device, at every endpoint"}

// on are the days on which one target was struck.
func (d *diary) on(target string) (stories []story) {
	for i, day := range d.days {
		if day.on == target {
			stories = append(stories, d.stories[i])
		}
	}
	return stories
}

// table is the days on which one target was struck, in full.
func (d *diary) table(target string) string {
	var b strings.Builder
	b.WriteString("| Injected in | Path | Outcomes | Recovered | Connections to DPS | Connections to hubs |" +
		" Other effects |" +
		"\n|---|---|---|---|---|---|---|\n")
	for i, day := range d.days {
		if day.on != target {
			continue
		}
		s := d.stories[i]
		outcomes, end := s.outcomes, fmt.Sprintf("%.1f s, at %s", s.took.Seconds(), s.at)
		switch {
		case day.in == machine.Closing && s.lost > 0:
			outcomes = fmt.Sprintf("%d readings reported as lost", s.lost)
			end = fmt.Sprintf("closed in %.1f s", s.took.Seconds())
		case day.in == machine.Closing:
			outcomes, end = "nothing lost", fmt.Sprintf("closed in %.1f s", s.took.Seconds())
		case s.took < 0:
			end = "all the time, at " + s.at
		}
		besides := s.besides
		if besides == "" {
			besides = day.reason()
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %d | %d | %s |\n", day.in, s.path, outcomes, end, s.dps, s.hub,
			besides)
	}
	return b.String()
}

// brief is the end of the story.
func (s story) brief() string {
	switch {
	case s.took < 0:
		return "–"
	case s.lost > 0:
		return fmt.Sprintf("%.1f, %d lost", s.took.Seconds(), s.lost)
	}
	return fmt.Sprintf("%.1f", s.took.Seconds())
}

// causes are those of all the days on which one target was struck, but those that a good day has too.
func (d *diary) causes(target string, good *diary) string {
	var all []string
	for i, s := range d.on(target) {
		for _, cause := range strings.Fields(s.causes) {
			if !slices.Contains(strings.Fields(good.stories[i].causes), cause) {
				all = append(all, cause)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}
