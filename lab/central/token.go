package central

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// The schemes of tokens.
const (
	signature = "SharedAccessSignature"
	bearer    = "Bearer"
)

// A token goes only into the Authorization header of requests. It must not appear in errors or logs.
type token struct {
	header string
	said   []*regexp.Regexp // forms in which an answer may repeat the token
}

// parseToken parses an API token, or a bearer token of one word.
func parseToken(text string) (*token, error) {
	words := strings.Fields(text)
	if len(words) == 1 {
		words = []string{bearer, words[0]}
	}
	switch {
	case len(words) == 0:
		return nil, errors.New("the token is empty")
	case len(words) > 2, words[0] != signature && words[0] != bearer, words[1] == signature, words[1] == bearer,
		strings.ContainsFunc(words[1], func(r rune) bool { return r < '!' || r > '~' }):
		return nil, errors.New("the token is not valid: an API token is SharedAccessSignature, a space and one word; " +
			"a bearer token is one word")
	}
	return &token{words[0] + " " + words[1], formsOf(words[1])}, nil
}

// shortest is the smallest length of a form in formsOf, in bytes. Shorter texts are not secrets, and
// occur in ordinary words.
const shortest = 8

// formsOf returns expressions for the forms in which an answer may repeat a secret. The expressions
// ignore case, because .NET writes %2F as %2f.
func formsOf(secret string) (forms []*regexp.Regexp) {
	add := func(form string) {
		if len(form) < shortest {
			return
		}
		for _, text := range []string{form, url.QueryEscape(form)} {
			forms = append(forms, regexp.MustCompile("(?i)"+regexp.QuoteMeta(text)))
		}
	}
	add(secret)
	for part := range strings.SplitSeq(secret, "&") {
		if sig, ok := strings.CutPrefix(part, "sig="); ok {
			add(sig)
			if plain, err := url.QueryUnescape(sig); err == nil {
				add(plain)
			}
		}
	}
	return forms
}

// longest is the largest number of characters that an error quotes from an answer.
const longest = 400

// shown returns the text of an answer for an error: without the token, and in one line.
func (t *token) shown(text string) string {
	for _, form := range t.said {
		text = form.ReplaceAllLiteralString(text, "[token]")
	}
	words := strings.Map(printable, strings.Join(strings.Fields(text), " "))
	if runes := []rune(words); len(runes) > longest {
		words = string(runes[:longest]) + " …"
	}
	return strings.TrimRight(words, ". ")
}
