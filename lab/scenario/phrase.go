package scenario

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A phrase is a statement that is being read, from its first word to its last. After its first error it reads nothing.
type phrase struct {
	line  int
	words []word // still to be read
	after string // the word before them
	err   error
}

func (p *phrase) fail(format string, values ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("line %d: "+format, append([]any{p.line}, values...)...)
	}
}

// refuse says that the next word is not allowed, and what is.
func (p *phrase) refuse(allowed ...string) {
	list := strings.Join(allowed, ", ")
	if last := len(allowed) - 1; last > 0 {
		list = strings.Join(allowed[:last], ", ") + " or " + allowed[last]
	}
	if len(p.words) > 0 {
		p.fail("%.60q is not allowed here: give %s", p.words[0].text, list)
	} else {
		p.fail("something is missing after %.60q: give %s", p.after, list)
	}
}

// peek is the next word, or none.
func (p *phrase) peek() word {
	if len(p.words) == 0 || p.err != nil {
		return word{}
	}
	return p.words[0]
}

func (p *phrase) take() string {
	w := p.peek()
	if len(p.words) > 0 {
		p.after, p.words = w.text, p.words[1:]
	}
	return w.text
}

// accept reads the next word if it is this one.
func (p *phrase) accept(text string) bool {
	if p.peek().text != text {
		return false
	}
	p.take()
	return true
}

func (p *phrase) must(text string) {
	if !p.accept(text) {
		p.refuse(text)
	}
}

// choose reads one of these words.
func (p *phrase) choose(allowed ...string) string {
	if !slices.Contains(allowed, p.peek().text) {
		p.refuse(allowed...)
		return ""
	}
	return p.take()
}

// time reads a moment, counted from the beginning.
func (p *phrase) time() time.Duration {
	d, err := time.ParseDuration(p.peek().text)
	if err != nil || d < 0 || d > longestRun {
		p.refuse("a time since the beginning such as 10s or 1m30s, at most " + short(longestRun))
		return 0
	}
	p.take()
	return d
}

// duration reads how long something takes.
func (p *phrase) duration() time.Duration {
	d, err := time.ParseDuration(p.peek().text)
	if err != nil || d <= 0 || d > longestRun {
		p.refuse("a duration above 0 such as 10s or 1m30s, at most " + short(longestRun))
		return 0
	}
	p.take()
	return d
}

func (p *phrase) number() int {
	n, err := strconv.ParseInt(p.peek().text, 10, 32)
	if err != nil || n < 0 {
		p.refuse("a whole number such as 0")
		return 0
	}
	p.take()
	return int(n)
}

func (p *phrase) seed() uint64 {
	seed, err := strconv.ParseUint(p.peek().data, 10, 64)
	if err != nil {
		p.refuse("a seed, a whole number such as seed=7")
		return 0
	}
	p.take()
	return seed
}

// name reads a method's or a command's.
func (p *phrase) name(of string) string {
	text := p.peek().text
	if text == "" || strings.ContainsAny(text[:1], `{["`) || strings.ContainsAny(text, "+#") {
		p.refuse("the name of a " + of + ", without + and #")
		return ""
	}
	return p.take()
}

// json reads a JSON value if there is one more word.
func (p *phrase) json() string {
	text := p.peek().text
	if text != "" && !json.Valid([]byte(text)) {
		p.refuse(`a JSON value such as 5, "text" or {"a":1}`)
		return ""
	}
	return p.take()
}

func (p *phrase) nothingMore() {
	if len(p.words) > 0 {
		p.refuse("nothing more, or begin another statement on a line of its own or after ';'")
	}
}
