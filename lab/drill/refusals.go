package drill

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A Refusal is a number of connections that DPS or a hub refused for the same reason.
type Refusal struct {
	// Where is a hub's name or "DPS". It is empty for refusals with other reasons than those on the card.
	Where string `json:"where,omitempty"`
	Code  int    `json:"code,omitempty"` // the return code of CONNACK; zero means that there was no CONNACK
	Why   string `json:"why"`            // if reasons differ only in numbers, the first of them
	Count int    `json:"count"`
}

// String returns the refusal in words.
func (r Refusal) String() string {
	if r.Where == "" {
		return counted(r.Count, "connection") + " refused for " + r.Why
	}
	return r.noun() + " refused at " + hostName(r.Where) + r.because()
}

// noun returns what was refused: a login if CONNECT was answered, and otherwise a connection.
func (r Refusal) noun() string {
	if r.Code == 0 {
		return counted(r.Count, "connection")
	}
	return counted(r.Count, "login")
}

func (r Refusal) because() string {
	if r.Code == 0 {
		return ": " + r.Why
	}
	return fmt.Sprintf(" with CONNACK %d: %s", r.Code, r.Why)
}

// hostName returns the name of a host in a sentence.
func hostName(where string) string {
	if where == emulator.TargetDPS {
		return where
	}
	return "hub " + where
}

// counted returns a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// refusals returns the refusals within a time, in the order in which they began.
func (e *Evidence) refusals(from, to time.Time) (all []Refusal) {
	var each []Refusal
	for i, why := range reasons(e.Events) {
		event := e.Events[i]
		if event.Kind != emulator.KindRefused || event.Time.Before(from) || event.Time.After(to) {
			continue
		}
		r := Refusal{Where: event.Hub, Why: why}
		if n, _ := fmt.Sscanf(why, "CONNACK %d:", &r.Code); n == 1 {
			_, r.Why, _ = strings.Cut(why, ": ")
		}
		each = append(each, r)
	}
	groups, others := grouped(each, func(r Refusal) string {
		return fmt.Sprint(r.Where, " ", r.Code, " ", withoutNumbers(r.Why))
	})
	for _, g := range groups {
		g.first.Count = g.count
		all = append(all, g.first)
	}
	if others > 0 {
		all = append(all, Refusal{Why: "other reasons", Count: others})
	}
	return all
}

// breaches returns the broken rules in the order in which the client broke them first.
func (e *Evidence) breaches() (all []string) {
	groups, others := grouped(e.Breaches, withoutNumbers)
	for _, g := range groups {
		text := g.first
		if g.count > 1 {
			text += fmt.Sprintf(" (and %d more like it)", g.count-1)
		}
		all = append(all, text)
	}
	if others > 0 {
		all = append(all, fmt.Sprintf("and %d others", others))
	}
	return all
}

// endpoints matches the addresses in an error of package net.
var endpoints = regexp.MustCompile(`\b(read|write) tcp \S+: `)

// reasons returns the reasons of the refusals and the sentences of the broken rules among the events, each at the index
// of its event; "" for any other event. When a CONNECT breaks a rule, the emulator names the rule first, and
// the end of the connection is an event without a reason of its own.
func reasons(events []emulator.Event) []string {
	all, broken := make([]string, len(events)), map[string]string{}
	for i, event := range events {
		switch event.Kind {
		case emulator.KindViolation:
			all[i], broken[event.Hub] = event.Text, event.Text
			continue
		case emulator.KindRefused:
			all[i] = endpoints.ReplaceAllString(event.Text, "")
			if why := broken[event.Hub]; why != "" && !strings.HasPrefix(event.Text, "CONNACK ") {
				all[i] = why
			}
			if event.Text == "EOF" {
				all[i] = "the client closed the connection before it logged in"
			}
		case emulator.KindConnected, emulator.KindDisconnected:
		default:
			continue
		}
		delete(broken, event.Hub)
	}
	return all
}

// A group is a number of things of the same kind.
type group[T any] struct {
	first T
	count int
}

// maxKinds is the number of groups that a card shows.
const maxKinds = 12

// grouped returns the groups of things with the same key, in the order of their first ones, and the number of things
// in the groups for which the card has no place.
func grouped[T any](all []T, key func(T) string) (groups []group[T], others int) {
	index := map[string]int{}
	for _, thing := range all {
		at, ok := index[key(thing)]
		switch {
		case ok:
			groups[at].count++
		case len(groups) < maxKinds:
			index[key(thing)] = len(groups)
			groups = append(groups, group[T]{thing, 1})
		default:
			others++
		}
	}
	return groups, others
}

var (
	numbers = regexp.MustCompile(`[0-9A-Fa-f-]*[0-9][0-9A-Fa-f-]*`)
	quoted  = regexp.MustCompile(`"[^"]*"`)
)

// withoutNumbers returns a text without decimal and hexadecimal numbers, which differ in each of many equal sentences.
func withoutNumbers(text string) string { return numbers.ReplaceAllString(text, "0") }

// withoutDetails returns a text without its numbers and without what it quotes.
func withoutDetails(text string) string { return withoutNumbers(quoted.ReplaceAllString(text, `""`)) }
