package service

import (
	"encoding/json"
	"strings"

	"giantlizard.example/failover/lab/emulator"
)

// query answers a query about the device twins of the hub, in pages. It knows a subset of the query
// language of azure-docs iot-hub/iot-hub-devguide-query-language.md, which parseQuery describes.
func (h hub) query(q request) (answer, error) {
	var body struct {
		Query string `json:"query"`
	}
	if err := decode(q.body, &body); err != nil {
		return answer{}, err
	}
	parsed, err := parseQuery(body.Query)
	if err != nil {
		return answer{}, invalid("The query is invalid: %s.", err)
	}
	var found []twinDocument
	for _, t := range h.cloud.DeviceTwins(h.endpoint) {
		if d := newTwinDocument(t); parsed.where == nil || parsed.where(d) {
			found = append(found, d)
		}
	}
	if parsed.count != "" {
		row := page{items: []any{map[string]any{parsed.count: len(found)}}}
		return row.answer("Raw"), nil
	}
	p, err := pageOf(q.Request, found, func(d twinDocument) string { return d.id },
		func(d twinDocument) any { return parsed.project(d) })
	if err != nil {
		return answer{}, err
	}
	if parsed.columns == nil {
		return p.answer("Twin"), nil
	}
	return p.answer("Raw"), nil
}

// A twinDocument is a twin as a query sees it.
type twinDocument struct {
	id   string
	view map[string]any
}

func newTwinDocument(t emulator.DeviceTwin) twinDocument {
	return twinDocument{t.DeviceID, twinView(t)}
}

// A parsedQuery is a query. Without columns it selects whole twins; with count it selects only their
// number, under that name.
type parsedQuery struct {
	columns []column
	count   string
	where   condition // nil means all
}

// A column is a part of a twin with its name in the result.
type column struct {
	path []string
	name string
}

// A condition reports whether a twin belongs to the result.
type condition func(d twinDocument) bool

func (p parsedQuery) project(d twinDocument) any {
	if p.columns == nil {
		return d.view
	}
	row := map[string]any{}
	for _, c := range p.columns {
		if value, defined := d.lookup(c.path); defined {
			row[c.name] = value
		}
	}
	return row
}

// lookup returns the value at a path. The members of a twin itself are found in any case, as in the
// examples of the documents; the names of tags and properties have a case.
func (d twinDocument) lookup(path []string) (any, bool) {
	var value any = d.view
	for i, name := range path {
		object, isObject := value.(map[string]any)
		if !isObject {
			return nil, false
		}
		member, found := object[name]
		if !found && i == 0 {
			for known := range object {
				if strings.EqualFold(known, name) {
					member, found = object[known], true
				}
			}
		}
		if !found {
			return nil, false
		}
		value = member
	}
	return value, true
}

// compare returns -1, 0 or 1 for two numbers or two strings, and 0 or 1 for two booleans or nulls.
// Values of different types cannot be compared.
func compare(a, b any) (order int, comparable bool) {
	if x, isNumber := number(a); isNumber {
		y, both := number(b)
		switch {
		case x < y:
			return -1, both
		case x > y:
			return 1, both
		}
		return 0, both
	}
	switch x := a.(type) {
	case string:
		y, both := b.(string)
		return strings.Compare(x, y), both
	case bool:
		y, both := b.(bool)
		if x == y {
			return 0, both
		}
		return 1, both
	case nil:
		return 0, b == nil
	}
	return 0, false
}

func number(value any) (float64, bool) {
	switch value := value.(type) {
	case json.Number:
		f, err := value.Float64()
		return f, err == nil
	case float64:
		return value, true
	case int:
		return float64(value), true
	}
	return 0, false
}
