package hub

import (
	"maps"
	"slices"

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
				first[k] = marked(inner.first, inner.then)
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

const marker = "__t"

// marked gives a part of a component the mark that every component that is sent must carry.
func marked(part, whole map[string]any) map[string]any {
	if mark, ok := whole[marker]; ok {
		part[marker] = mark
	}
	return part
}

// lesser is what to try in place of a patch that a hub refused: its halves, down to a single property, so that what is
// wrong costs nothing else. An answer that is refused is tried without its value. At the end nothing is left to try.
func lesser(patch map[string]any, reason error) (parts []map[string]any) {
	var names []string
	for name := range patch {
		if name != marker {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	part := func(name string, v any) {
		parts = append(parts, marked(map[string]any{name: v}, patch))
	}
	if len(names) > 1 {
		for _, half := range [][]string{names[:len(names)/2], names[len(names)/2:]} {
			p := map[string]any{}
			for _, name := range half {
				p[name] = patch[name]
			}
			parts = append(parts, marked(p, patch))
		}
		return parts
	}
	for _, name := range names {
		switch v := patch[name].(type) {
		case payloads.PropertyAck:
			if v.Value != nil {
				part(name, v.Without(reason))
			}
		case map[string]any:
			if _, isAnswer := v["ac"]; isAnswer {
				continue
			}
			for _, p := range lesser(v, reason) {
				part(name, p)
			}
		}
	}
	return parts
}

// nameOf is the way to the one property of a patch that has no lesser one.
func nameOf(patch map[string]any) string {
	for name, v := range patch {
		if name == marker {
			continue
		}
		if inner, ok := v.(map[string]any); ok {
			if below := nameOf(inner); below != "" {
				return name + "." + below
			}
		}
		return name
	}
	return ""
}
