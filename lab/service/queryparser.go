package service

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// queryToken matches the next token of a query: a string, a number, a path, or a sign.
var queryToken = regexp.MustCompile(`^\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|` +
	`-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|` +
	`[A-Za-z_$][\w$-]*(?:\.[\w$-]+)*|<=|>=|!=|<>|[*,()\[\]=<>])`)

const (
	maximumQuery      = 8 << 10 // bytes
	maximumQueryDepth = 50      // nested parentheses and NOTs
)

// parseQuery parses
//
//	SELECT * | COUNT() [AS name] | path [AS name], … FROM devices [WHERE condition]
//
// A condition joins comparisons (= != <> < <= > >=), path IN [value, …], IS_DEFINED(path),
// STARTSWITH, ENDSWITH and CONTAINS with AND, OR, NOT and parentheses.
func parseQuery(text string) (parsedQuery, error) {
	if len(text) > maximumQuery {
		return parsedQuery{}, fmt.Errorf("it has more than %d bytes", maximumQuery)
	}
	p := &queryParser{}
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		token := queryToken.FindString(rest)
		if token == "" {
			return parsedQuery{}, fmt.Errorf("it cannot be read from %.30q on", rest)
		}
		p.tokens, rest = append(p.tokens, strings.TrimSpace(token)), rest[len(token):]
	}
	q, err := p.query()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("%.30q is not expected, or the emulator does not know this part of the language", p.tokens[0])
	}
	return q, err
}

type queryParser struct {
	tokens []string
	depth  int
}

// peek returns the next token, or "" at the end.
func (p *queryParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *queryParser) next() string {
	token := p.peek()
	if token != "" {
		p.tokens = p.tokens[1:]
	}
	return token
}

// take consumes the next token if it is the given word, in any case.
func (p *queryParser) take(word string) bool {
	if strings.EqualFold(p.peek(), word) && word != "" {
		p.next()
		return true
	}
	return false
}

func (p *queryParser) expect(words ...string) error {
	for _, word := range words {
		if !p.take(word) {
			return fmt.Errorf("%s is expected, not %.30q", word, p.peek())
		}
	}
	return nil
}

func (p *queryParser) query() (q parsedQuery, err error) {
	if err := p.expect("SELECT"); err != nil {
		return q, err
	}
	switch {
	case p.take("*"):
	case strings.EqualFold(p.peek(), "COUNT"):
		p.next()
		if err := p.expect("(", ")"); err != nil {
			return q, err
		}
		q.count, err = p.name("count")
	default:
		q.columns, err = p.columns()
	}
	if err == nil {
		err = p.expect("FROM", "devices")
	}
	if err == nil && p.take("WHERE") {
		q.where, err = p.or()
	}
	return q, err
}

func (p *queryParser) columns() (all []column, err error) {
	for {
		path, err := p.path()
		if err != nil {
			return nil, err
		}
		name, err := p.name(path[len(path)-1])
		if err != nil {
			return nil, err
		}
		if all = append(all, column{path, name}); !p.take(",") {
			return all, nil
		}
	}
}

// name parses an optional AS.
func (p *queryParser) name(otherwise string) (string, error) {
	if !p.take("AS") {
		return otherwise, nil
	}
	path, err := p.path()
	if err != nil || len(path) > 1 {
		return "", errors.New("a name is expected after AS")
	}
	return path[0], nil
}

// reserved are the words that are no paths.
var reserved = []string{"select", "from", "where", "and", "or", "not", "in", "as", "group", "by", "top"}

func (p *queryParser) path() ([]string, error) {
	token := p.next()
	if !isPath(token) {
		return nil, fmt.Errorf("the name of a property is expected, not %.30q", token)
	}
	return strings.Split(token, "."), nil
}

func isPath(token string) bool {
	return token != "" && !strings.ContainsAny(token[:1], `'"-0123456789*,()[]=<>!`) &&
		!slices.Contains(reserved, strings.ToLower(token))
}

func (p *queryParser) or() (condition, error) {
	return p.chain("OR", p.and, func(a, b condition) condition {
		return func(d twinDocument) bool { return a(d) || b(d) }
	})
}

func (p *queryParser) and() (condition, error) {
	return p.chain("AND", p.not, func(a, b condition) condition {
		return func(d twinDocument) bool { return a(d) && b(d) }
	})
}

func (p *queryParser) chain(
	word string, part func() (condition, error), join func(a, b condition) condition,
) (condition, error) {
	all, err := part()
	for err == nil && p.take(word) {
		var more condition
		if more, err = part(); err == nil {
			all = join(all, more)
		}
	}
	return all, err
}

func (p *queryParser) not() (condition, error) {
	if p.depth++; p.depth > maximumQueryDepth {
		return nil, errors.New("it is nested too deep")
	}
	defer func() { p.depth-- }()
	if p.take("NOT") {
		inner, err := p.not()
		return func(d twinDocument) bool { return !inner(d) }, err
	}
	if p.take("(") {
		inner, err := p.or()
		if err == nil {
			err = p.expect(")")
		}
		return inner, err
	}
	return p.test()
}
