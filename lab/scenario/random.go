package scenario

import (
	"math/rand/v2"
	"strings"
	"time"
)

// shortestAttack is the minimum duration of an attack, and the minimum of the average time between the
// beginnings of two attacks.
const shortestAttack = 5 * time.Second

// attacks are the statements from which `random` chooses. HUB means the hub that the device is
// assigned to, OTHER the other one. Each attack ends by itself, and the device can recover from it
// without an operator.
var attacks = []string{
	"kill HUB fin", "kill HUB rst", "kill HUB refuse", "kill HUB silence",
	"kill HUB fin; move OTHER", "kill HUB rst; move OTHER", "kill HUB refuse; move OTHER",
	"kill HUB silence; move OTHER",
	"move OTHER", "move OTHER; kill DPS", "move OTHER; strike DPS throttles retry-after=5s",
	"kill HUB rst; kill OTHER rst",
	"kill DPS", "kill DPS silence", "strike DPS unavailable", "strike DPS mute", "strike DPS lingers delay=5s",
	"strike HUB flapping delay=4s", "strike HUB flaky probability=0.5", "strike HUB slow delay=250ms jitter=250ms",
	"strike HUB reject", "strike HUB certificate-expired", "strike HUB truncated count=1",
	"strike HUB late-puback delay=3s", "strike HUB cut-before-puback count=2",
	"strike HUB twin-mute", "strike device duplicate-message", "strike device desired-gap",
}

// randomSteps returns the steps of a random statement, the i-th of its scenario.
func randomSteps(st statement, i int) (steps []Step) {
	random := rand.New(rand.NewPCG(st.seed, uint64(i)))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(random.Int64N(int64(most-least)+1)).Truncate(100*time.Millisecond)
	}
	hub, other := hubs[0], hubs[1]
	for at := st.from; st.to-at >= shortestAttack; at += between(st.every/2, st.every*3/2) {
		text := strings.NewReplacer("HUB", hub, "OTHER", other).Replace(attacks[random.IntN(len(attacks))])
		duration := between(shortestAttack, min(st.to-at, max(st.every, shortestAttack)))
		statements, _ := words(text) // a test checks that all attacks can be parsed
		for _, words := range statements {
			a := (&phrase{words: words}).act()
			if a.Verb == Move {
				hub, other = other, hub
			} else {
				a.Params.For = duration
			}
			steps = append(steps, Step{At: at, Act: a})
		}
	}
	return steps
}
