package service

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// maximumPage is the largest number of items of one page of a query. The services may return fewer
// items than the header x-ms-max-item-count asks for.
const maximumPage = 100

const continuationPrefix = "after:"

// A page is a part of a list that is sorted by ID.
type page struct {
	items []any
	next  string // the header x-ms-continuation; "" means that this page is the last
}

// pageOf returns the page that a request asks for by its headers x-ms-max-item-count and
// x-ms-continuation. A token names the last ID of the page before, so that no item is missing or comes
// twice if the list changes between two pages.
func pageOf[T any](r *http.Request, list []T, id func(T) string, view func(T) any) (page, error) {
	limit, err := top(r.Header.Get("x-ms-max-item-count"), maximumPage)
	if err != nil {
		return page{}, err
	}
	after, err := afterToken(r.Header.Get("x-ms-continuation"))
	if err != nil {
		return page{}, err
	}
	p := page{items: []any{}}
	last := ""
	for _, item := range list {
		if id(item) <= after {
			continue
		}
		if len(p.items) == limit {
			p.next = base64.StdEncoding.EncodeToString([]byte(continuationPrefix + last))
			break
		}
		p.items, last = append(p.items, view(item)), id(item)
	}
	return p, nil
}

func afterToken(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	after, ours := strings.CutPrefix(string(decoded), continuationPrefix)
	if err != nil || !ours {
		return "", invalid("The header x-ms-continuation is not the one of an earlier answer.")
	}
	return after, nil
}

// answer returns the page as an answer, with the kind of its items.
func (p page) answer(kind string) answer {
	header := map[string]string{"x-ms-item-type": kind}
	if p.next != "" {
		header["x-ms-continuation"] = p.next
	}
	return answer{http.StatusOK, p.items, header}
}
