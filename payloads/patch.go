package payloads

import (
	"maps"
	"slices"
)

// ComponentMarker is the member, with the value "c", that marks an object of a twin as a component.
// Source: azure-docs iot-develop/concepts-convention.md.
const ComponentMarker = "__t"

// MarkPart copies the component marker of whole to part, and returns part. If whole has no marker,
// it is no component, and part stays as it is.
func MarkPart(part, whole map[string]any) map[string]any {
	if mark, ok := whole[ComponentMarker]; ok {
		part[ComponentMarker] = mark
	}
	return part
}

// SplitPatch returns the patches to send instead of a patch of reported properties that a hub
// refused for a reason. It returns the halves of the patch, down to a single property, so that one
// bad property does not block the others. A single PropertyAck loses its value. SplitPatch returns
// nothing if the patch cannot be made smaller.
func SplitPatch(patch map[string]any, reason error) (parts []map[string]any) {
	names := propertiesOf(patch)
	if len(names) > 1 {
		for _, half := range [][]string{names[:len(names)/2], names[len(names)/2:]} {
			part := map[string]any{}
			for _, name := range half {
				part[name] = patch[name]
			}
			parts = append(parts, MarkPart(part, patch))
		}
		return parts
	}
	for _, name := range names {
		switch v := patch[name].(type) {
		case PropertyAck:
			if v.Value != nil {
				parts = append(parts, MarkPart(map[string]any{name: v.WithoutValue(reason)}, patch))
			}
		case map[string]any:
			if _, isAck := v["ac"]; isAck {
				continue
			}
			for _, inner := range SplitPatch(v, reason) {
				parts = append(parts, MarkPart(map[string]any{name: inner}, patch))
			}
		}
	}
	return parts
}

// FirstProperty returns the path of the first property in a patch of reported properties, such as
// "component.name".
func FirstProperty(patch map[string]any) string {
	names := propertiesOf(patch)
	if len(names) == 0 {
		return ""
	}
	inner, _ := patch[names[0]].(map[string]any)
	if below := FirstProperty(inner); below != "" {
		return names[0] + "." + below
	}
	return names[0]
}

func propertiesOf(patch map[string]any) []string {
	names := slices.Sorted(maps.Keys(patch))
	return slices.DeleteFunc(names, func(name string) bool { return name == ComponentMarker })
}
