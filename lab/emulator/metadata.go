package emulator

import (
	"maps"
	"time"
)

// Metadata holds when a property, or a section of a twin, was last set, and the metadata of its
// members. It must not be changed.
type Metadata struct {
	Updated time.Time
	Version int // version of the section at that time
	Members map[string]Metadata
}

// merge returns the metadata after a patch of the properties.
func (m Metadata) merge(patch map[string]any, at time.Time, version int) Metadata {
	merged := Metadata{at, version, make(map[string]Metadata, len(m.Members)+len(patch))}
	maps.Copy(merged.Members, m.Members)
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(merged.Members, name)
		case map[string]any:
			merged.Members[name] = m.Members[name].merge(value, at, version)
		default:
			merged.Members[name] = Metadata{Updated: at, Version: version}
		}
	}
	return merged
}
