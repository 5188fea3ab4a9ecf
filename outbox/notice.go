package outbox

import (
	"maps"

	"giantlizard.example/failover/settings"
)

// A notice is what the cloud has to learn from the properties of readings: which readings were
// dropped, and how the previous epoch ended.
type notice struct {
	previous ID     // last ID of the previous epoch or outbox; zero means that there is none to name
	missing  ranges // numbers of the dropped readings
}

// attachTo moves as much of n as fits into the properties of r, a reading that is handed out, and
// returns that part of n. A reading names only numbers below its own, so that a receiver that counts
// finds the explanation of a gap right after it. If r is not acknowledged, the caller must add the
// returned notice to n again.
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
