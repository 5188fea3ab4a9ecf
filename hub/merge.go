package hub

import (
	"maps"
	"slices"

	"giantlizard.example/failover/payloads"
)

// A merged has the effect on a twin that the patches merged into it would have one after another.
// It consists of two patches, because a twin merges an object into the object that it holds: to
// replace an object, first removes it with null, and then adds the new one.
type merged struct{ first, then map[string]any }

// add returns m with a newer patch merged into it: objects are merged, anything else is replaced,
// null stays null.
func (m merged) add(newer map[string]any) merged {
	first, then := clone(m.first), clone(m.then)
	for k, v := range newer {
		old, known := then[k]
		oldObject, wasObject := old.(map[string]any)
		object, isObject := v.(map[string]any)
		switch {
		case !isObject:
			delete(first, k)
			then[k] = v
		case !wasObject:
			if known {
				first[k] = nil
			}
			then[k] = object
		default:
			removed, some := first[k]
			removedInside, _ := removed.(map[string]any)
			inner := merged{removedInside, oldObject}.add(object)
			then[k] = inner.then
			if some && removed == nil { // first already removes the whole object
				continue
			}
			delete(first, k)
			if len(inner.first) > 0 {
				first[k] = payloads.MarkPart(inner.first, inner.then)
			}
		}
	}
	return merged{first, then}
}

// patches returns the patches to send, in order, without empty ones.
func (m merged) patches() (all []map[string]any) {
	all = []map[string]any{m.first, m.then}
	return slices.DeleteFunc(all, func(patch map[string]any) bool { return len(patch) == 0 })
}

// clone returns a copy of a map. The copy of nil is an empty map.
func clone[V any](m map[string]V) map[string]V {
	all := map[string]V{}
	maps.Copy(all, m)
	return all
}
