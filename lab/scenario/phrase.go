package scenario

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A phrase reads the words of a statement in order. After the first error it reads no more.
type phrase struct {
	line     int
	words    []word // words that are still to be read
	previous string // the last word that was read
	err      error
}

func (p *phrase) fail(format string, values ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("line %d: "+format, append([]any{p.line}, values...)...)
	}
}

// refuse fails with the next word, and says what is allowed instead.
func (p *phrase) refuse(allowed ...string) {
	list := strings.Join(allowed, ", ")
	if last := len(allowed) - 1; last > 0 {
		list = strings.Join(allowed[:last], ", ") + " or " + allowed[last]
	}
	if len(p.words) > 0 {
		p.fail("%.60q is not allowed here: give %s", p.words[0].text, list)
	} else {
		p.fail("something is missing after %.60q: give %s", p.previous, list)
	}
}

// peek returns the next word, or an empty one at the end.
func (p *phrase) peek() word {
	if len(p.words) == 0 || p.err != nil {
		return word{}
	}
	return p.words[0]
}

// next reads the next word.
func (p *phrase) next() string {
	w := p.peek()
	if len(p.words) > 0 {
		p.previous, p.words = w.text, p.words[1:]
	}
	return w.text
}

// accept reads the next word if it equals text, and reports whether it did.
func (p *phrase) accept(text string) bool {
	if p.peek().text != text {
		return false
	}
	p.next()
	return true
}

// require reads the next word, and fails if it does not equal text.
func (p *phrase) require(text string) {
	if !p.accept(text) {
		p.refuse(text)
	}
}

// oneOf reads one of the allowed words.
func (p *phrase) oneOf(allowed ...string) string {
	if !slices.Contains(allowed, p.peek().text) {
		p.refuse(allowed...)
		return ""
	}
	return p.next()
}

// time reads a time since the beginning of the scenario.
func (p *phrase) time() time.Duration {
	d, err := time.ParseDuration(p.peek().text)
	if err != nil || d < 0 || d > longestRun {
		p.refuse("a time since the beginning such as 10s or 1m30s, at most " + formatDuration(longestRun))
		return 0
	}
	p.next()
	return d
}

// duration reads a duration above 0.
func (p *phrase) duration() time.Duration {
	d, err := time.ParseDuration(p.peek().text)
	if err != nil || d <= 0 || d > longestRun {
		p.refuse("a duration above 0 such as 10s or 1m30s, at most " + formatDuration(longestRun))
		return 0
	}
	p.next()
	return d
}

func (p *phrase) number() int {
	n, err := strconv.ParseInt(p.peek().text, 10, 32)
	if err != nil || n < 0 {
		p.refuse("a whole number such as 0")
		return 0
	}
	p.next()
	return int(n)
}

func (p *phrase) seed() uint64 {
	seed, err := strconv.ParseUint(p.peek().data, 10, 64)
	if err != nil {
		p.refuse("a seed, a whole number such as seed=7")
		return 0
	}
	p.next()
	return seed
}

// name reads the name of a method or a command.
func (p *phrase) name(of string) string {
	text := p.peek().text
	if text == "" || strings.ContainsAny(text[:1], `{["`) || strings.ContainsAny(text, "+#") {
		p.refuse("the name of a " + of + ", without + and #")
		return ""
	}
	return p.next()
}

// json reads a JSON value, or nothing at the end of the statement.
func (p *phrase) json() string {
	text := p.peek().text
	if text != "" && !json.Valid([]byte(text)) {
		p.refuse(`a JSON value such as 5, "text" or {"a":1}`)
		return ""
	}
	return p.next()
}

// requireEnd fails if there are more words.
func (p *phrase) requireEnd() {
	if len(p.words) > 0 {
		p.refuse("nothing more, or begin another statement on a line of its own or after ';'")
	}
}
