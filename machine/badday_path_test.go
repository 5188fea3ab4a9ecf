package machine_test

import (
	"fmt"
	"slices"
	"strings"

	"giantlizard.example/failover/machine"
)

var letters = map[machine.State]string{
	machine.Unprovisioned: "U", machine.Provisioning: "P", machine.Connecting: "c", machine.Connected: "C",
	machine.Failover: "F",
	machine.Closing:  "X",
}

// route is the states from the one that was struck to the last, as letters.
func (w *witness) route() string {
	var path strings.Builder
	for _, v := range w.states[w.firstOf.states:] {
		if v.state != machine.Closing || w.in == machine.Closing {
			path.WriteString(letters[v.state])
		}
	}
	return folded(path.String())
}

// folded is the shortest way to write a path: what is repeated stands once, as in "P (cF)×3 C".
func folded(path string) string {
	shortest := make([][]string, len(path)+1)
	cost := func(parts []string) int { return len(strings.Join(parts, "  ")) }
	for i := len(path) - 1; i >= 0; i-- {
		best := slices.Clone(shortest[i+1])
		if len(best) > 0 && !strings.HasPrefix(best[0], "(") {
			best[0] = path[i:i+1] + best[0]
		} else {
			best = append([]string{path[i : i+1]}, best...)
		}
		for size := 1; i+2*size <= len(path); size++ {
			for times := 2; i+times*size <= len(path) &&
				path[i+(times-1)*size:i+times*size] == path[i:i+size]; times++ {
				group := append([]string{fmt.Sprintf("(%s)×%d", path[i:i+size], times)}, shortest[i+times*size]...)
				if cost(group) < cost(best) {
					best = group
				}
			}
		}
		shortest[i] = best
	}
	return strings.Join(shortest[0], " ")
}

func once(words []string) (some []string) {
	for _, word := range words {
		if !slices.Contains(some, word) {
			some = append(some, word)
		}
	}
	return some
}

// counted writes what comes several times in a row once.
func counted(words []string) string {
	var parts []string
	for i, n := 0, 0; i < len(words); i += n {
		n = 1
		for i+n < len(words) && words[i+n] == words[i] {
			n++
		}
		part := words[i]
		if n > 1 {
			part += fmt.Sprintf(" ×%d", n)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
