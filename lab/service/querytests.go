package service

import (
	"encoding/json"
	"fmt"
	"strings"
)

// An operand is a path or a value of a comparison.
type operand func(d twinDocument) (value any, defined bool)

// stringTests are the functions of two strings.
var stringTests = map[string]func(text, part string) bool{
	"STARTSWITH": strings.HasPrefix, "ENDSWITH": strings.HasSuffix, "CONTAINS": strings.Contains,
}

// test parses a comparison, an IN, or a function.
func (p *queryParser) test() (condition, error) {
	name := strings.ToUpper(p.peek())
	if stringTest := stringTests[name]; stringTest != nil {
		return p.stringTest(stringTest)
	}
	if name == "IS_DEFINED" {
		p.next()
		if err := p.expect("("); err != nil {
			return nil, err
		}
		path, err := p.path()
		if err == nil {
			err = p.expect(")")
		}
		return func(d twinDocument) bool { _, defined := d.lookup(path); return defined }, err
	}
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	if p.take("IN") {
		return p.in(left)
	}
	sign := p.next()
	holds, known := comparisons[sign]
	if !known {
		return nil, fmt.Errorf("a comparison is expected, not %.30q", sign)
	}
	right, err := p.operand()
	return func(d twinDocument) bool {
		a, definedA := left(d)
		b, definedB := right(d)
		order, comparable := compare(a, b)
		return definedA && definedB && holds(order, comparable)
	}, err
}

// comparisons says for each sign whether it holds. Values of different types are unequal, and neither is
// smaller.
var comparisons = map[string]func(order int, comparable bool) bool{
	"=":  func(order int, comparable bool) bool { return comparable && order == 0 },
	"!=": func(order int, comparable bool) bool { return !comparable || order != 0 },
	"<>": func(order int, comparable bool) bool { return !comparable || order != 0 },
	"<":  func(order int, comparable bool) bool { return comparable && order < 0 },
	"<=": func(order int, comparable bool) bool { return comparable && order <= 0 },
	">":  func(order int, comparable bool) bool { return comparable && order > 0 },
	">=": func(order int, comparable bool) bool { return comparable && order >= 0 },
}

func (p *queryParser) stringTest(holds func(text, part string) bool) (condition, error) {
	p.next()
	if err := p.expect("("); err != nil {
		return nil, err
	}
	left, err := p.operand()
	if err == nil {
		err = p.expect(",")
	}
	if err != nil {
		return nil, err
	}
	right, err := p.operand()
	if err == nil {
		err = p.expect(")")
	}
	return func(d twinDocument) bool {
		a, _ := left(d)
		b, _ := right(d)
		text, isText := a.(string)
		part, isPart := b.(string)
		return isText && isPart && holds(text, part)
	}, err
}

func (p *queryParser) in(left operand) (condition, error) {
	if err := p.expect("["); err != nil {
		return nil, err
	}
	var values []any
	for {
		value, isValue := literal(p.next())
		if !isValue {
			return nil, fmt.Errorf("IN needs values in brackets: ['a', 'b']")
		}
		if values = append(values, value); !p.take(",") {
			break
		}
	}
	return func(d twinDocument) bool {
		found, defined := left(d)
		for _, value := range values {
			if order, comparable := compare(found, value); defined && comparable && order == 0 {
				return true
			}
		}
		return false
	}, p.expect("]")
}

func (p *queryParser) operand() (operand, error) {
	if value, isValue := literal(p.peek()); isValue {
		p.next()
		return func(twinDocument) (any, bool) { return value, true }, nil
	}
	path, err := p.path()
	return func(d twinDocument) (any, bool) { return d.lookup(path) }, err
}

// literal returns the value of a token that is a string, a number, true, false or null.
func literal(token string) (any, bool) {
	switch strings.ToLower(token) {
	case "true":
		return true, true
	case "false":
		return false, true
	case "null":
		return nil, true
	case "":
		return nil, false
	}
	switch quote := token[0]; {
	case quote == '\'' || quote == '"':
		text := token[1 : len(token)-1]
		return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\"`, `"`).Replace(text), true
	case quote == '-' || quote >= '0' && quote <= '9':
		return json.Number(token), true
	}
	return nil, false
}
