package outbox

import "maps"

// A notice is what the cloud is to hear, and has not heard yet: which readings are missing, and what the epoch before ended with.
type notice struct {
	before  ID // zero: heard
	missing ranges
}

// on gives a reading that is handed out the properties that tell this, and returns what they tell. A reading tells only of
// numbers below its own, so whoever counts finds a gap explained where it ends. Whoever does not hear that the reading has
// arrived adds this again, so that no notice is lost with its reading.
func (n *notice) on(e *Reading) (told notice) {
	text, missing := n.missing.takeText(e.ID.N, noticeLimit)
	if told = (notice{n.before, missing}); told.empty() {
		return told
	}
	properties := maps.Clone(e.Reading.Properties)
	if properties == nil {
		properties = map[string]string{}
	}
	if n.before != (ID{}) {
		properties[PreviousProperty], n.before = n.before.String(), ID{}
	}
	if text != "" {
		properties[MissingProperty] = text
	}
	e.Reading.Properties = properties
	return told
}

func (n notice) empty() bool { return n.before == (ID{}) && len(n.missing) == 0 }

func (n *notice) add(other notice) {
	if other.before != (ID{}) {
		n.before = other.before
	}
	n.missing.addAll(other.missing)
}

func (n *notice) remove(told notice) {
	if told.before == n.before {
		n.before = ID{}
	}
	for _, r := range told.missing {
		n.missing.remove(r)
	}
}
