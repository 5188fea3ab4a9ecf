package hub

import (
	"maps"

	"giantlizard.example/failover/payloads"
)

// changes are reported properties merged into what leaves a twin as they would have left it one by one. One patch cannot
// say "this object instead of what is there", because a twin merges an object into the one that it holds: what must go is
// null in the patch that is sent first.
type changes struct{ first, then map[string]any }

// lay lays newer over c: objects are merged, anything else is replaced, null stays null.
func (c changes) lay(newer map[string]any) changes {
	first, then := copied(c.first), copied(c.then)
	for k, v := range newer {
		under, known := then[k]
		below, wasObject := under.(map[string]any)
		over, isObject := v.(map[string]any)
		switch {
		case !isObject:
			delete(first, k)
			then[k] = v
		case !wasObject:
			if known {
				first[k] = nil
			}
			then[k] = over
		default:
			gone, some := first[k]
			deeper, _ := gone.(map[string]any)
			inner := changes{deeper, below}.lay(over)
			then[k] = inner.then
			if some && gone == nil { // all of it goes
				continue
			}
			delete(first, k)
			if len(inner.first) > 0 {
				first[k] = payloads.MarkPart(inner.first, inner.then)
			}
		}
	}
	return changes{first, then}
}

// follow lays all of newer over c.
func (c changes) follow(newer changes) changes { return c.lay(newer.first).lay(newer.then) }

// patches are what is to be sent, in order.
func (c changes) patches() (all []map[string]any) {
	for _, p := range []map[string]any{c.first, c.then} {
		if len(p) > 0 {
			all = append(all, p)
		}
	}
	return all
}

func copied(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return maps.Clone(m)
}
