package outbox

import (
	"maps"

	"giantlizard.example/failover/settings"
)

// A notice is what the cloud has to learn from the properties of readings: which readings were
// dropped, and how the previous epoch ended.
type notice struct {
	previous ID // the zero ID means that there is none to name
	missing  ranges
}

// attachTo moves as much of n as fits into the properties of a reading that is handed out, and returns
// that. A reading names only numbers below its own, so that a receiver who counts finds a gap
// explained at its end. If the reading is not acknowledged, what it named is to be added to n again.
func (n *notice) attachTo(r *Reading) (named notice) {
	if n.isEmpty() {
		return named
	}
	text, missing := n.missing.takeText(r.ID.N, noticeLimit)
	if named = (notice{n.previous, missing}); named.isEmpty() {
		return named
	}
	properties := maps.Clone(r.Properties)
	settings.Default(&properties, map[string]string{})
	if n.previous != (ID{}) {
		properties[PreviousProperty], n.previous = n.previous.String(), ID{}
	}
	if text != "" {
		properties[MissingProperty] = text
	}
	r.Properties = properties
	return named
}

func (n *notice) isEmpty() bool { return n.previous == (ID{}) && len(n.missing) == 0 }

func (n *notice) add(other notice) {
	if other.previous != (ID{}) {
		n.previous = other.previous
	}
	n.missing.addAll(other.missing)
}

func (n *notice) remove(named notice) {
	if named.previous == n.previous {
		n.previous = ID{}
	}
	for _, r := range named.missing {
		n.missing.remove(r)
	}
}
