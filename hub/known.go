package hub

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"

	"giantlizard.example/failover/payloads"
)

// A knownProperties holds the desired properties that the device knows, by component and name. A
// property that was removed is known until its handler has returned.
type knownProperties map[string]map[string]*property

func (k knownProperties) get(n payloads.PropertyName) *property { return k[n.Component][n.Name] }

func (k knownProperties) put(n payloads.PropertyName, p *property) {
	if k[n.Component] == nil {
		k[n.Component] = map[string]*property{}
	}
	k[n.Component][n.Name] = p
}

func (k knownProperties) remove(n payloads.PropertyName) {
	if delete(k[n.Component], n.Name); len(k[n.Component]) == 0 {
		delete(k, n.Component)
	}
}

// all iterates over the properties in the order of their names.
func (k knownProperties) all() iter.Seq2[payloads.PropertyName, *property] {
	return func(yield func(payloads.PropertyName, *property) bool) {
		for _, component := range slices.Sorted(maps.Keys(k)) {
			for _, name := range slices.Sorted(maps.Keys(k[component])) {
				if !yield(payloads.PropertyName{Component: component, Name: name}, k[component][name]) {
					return
				}
			}
		}
	}
}

// displacedBy returns the properties with a value that no twin holds together with n, in order: a name
// in a twin is that of a property or that of a component.
func (k knownProperties) displacedBy(n payloads.PropertyName) (all []payloads.PropertyName) {
	switch {
	case n.Component != "":
		if p := k[""][n.Component]; p != nil && !isNull(p.value) {
			all = append(all, payloads.PropertyName{Name: n.Component})
		}
	case n.Name != "":
		for _, name := range slices.Sorted(maps.Keys(k[n.Name])) {
			if !isNull(k[n.Name][name].value) {
				all = append(all, payloads.PropertyName{Component: n.Name, Name: name})
			}
		}
	}
	return all
}

// removal returns a property with the value null.
func removal(key payloads.PropertyName) payloads.DesiredProperty {
	return payloads.DesiredProperty{Component: key.Component, Name: key.Name, Value: json.RawMessage("null")}
}
