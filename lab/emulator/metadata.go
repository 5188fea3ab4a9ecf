package emulator

import (
	"maps"
	"time"
)

// Metadata says when a property, or a section of a twin, was last set, and the same of its members. It must not be changed.
type Metadata struct {
	Updated time.Time
	Version int // of the section then
	Members map[string]Metadata
}

// merge returns what follows from a patch, as merge of the properties does.
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
