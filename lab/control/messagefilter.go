package control

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A messageQuery says which messages a consumer wants. Messages must match one value of each kind; a kind
// without values matches all messages.
type messageQuery struct {
	after         int64 // sequence number of the last message that the consumer has
	follow        bool  // wait for new messages
	devices, hubs []string
	properties    []string // NAME or NAME=VALUE, of an application or system property
}

// messageQueryHelp is part of every error about the query.
const messageQueryHelp = "The query may have after, follow, device, hub and property, percent-encoded."

func (s *Server) parseMessageQuery(r *http.Request) (q messageQuery, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, invalidParameter("%s %s.", messageQueryHelp, err.Error())
	}
	for _, name := range sortedKeys(query) {
		switch name {
		case "device", "hub", "property":
		case "after", "follow":
			if len(query[name]) > 1 {
				return q, invalidParameter("%s %s must be given once.", messageQueryHelp, name)
			}
		default:
			return q, invalidParameter("%s %.60q is unknown.", messageQueryHelp, name)
		}
	}
	q = messageQuery{devices: query["device"], hubs: query["hub"], properties: query["property"], follow: true}
	for _, hub := range q.hubs {
		if s.cloud.Hub(hub) == "" {
			return q, invalidParameter("There is no hub %.60q.", hub)
		}
	}
	if query.Has("follow") {
		if q.follow, err = strconv.ParseBool(query.Get("follow")); err != nil {
			return q, invalidParameter("follow is %.60q: it must be true or false.", query.Get("follow"))
		}
	}
	// a client of the stream sends Last-Event-ID when it reconnects, with its first query
	q.after, err = s.parseCursor(cmp.Or(r.Header.Get("Last-Event-ID"), query.Get("after")))
	return q, err
}

// matches reports whether a consumer wants a message.
func (q messageQuery) matches(m messageView) bool {
	return (len(q.devices) == 0 || slices.Contains(q.devices, m.Device)) &&
		(len(q.hubs) == 0 || slices.Contains(q.hubs, m.Hub)) &&
		(len(q.properties) == 0 || slices.ContainsFunc(q.properties, m.hasProperty))
}

func (m messageView) hasProperty(wanted string) bool {
	name, value, withValue := strings.Cut(wanted, "=")
	for _, properties := range []map[string]string{m.Properties, m.SystemProperties} {
		if has, found := properties[name]; found && (!withValue || has == value) {
			return true
		}
	}
	return false
}

// cursor returns the cursor behind a message: the run of the emulator and the sequence number.
func (s *Server) cursor(sequence int64) string {
	return s.cloud.RunID() + "-" + strconv.FormatInt(sequence, 10)
}

// parseCursor returns the sequence number of a cursor. "" means the beginning, and "now" the end.
func (s *Server) parseCursor(text string) (int64, error) {
	last := s.cloud.LastSequence()
	switch text {
	case "":
		return 0, nil
	case "now":
		return last, nil
	}
	run, number, _ := strings.Cut(text, "-")
	sequence, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil || sequence < 0 || len(run) != len(s.cloud.RunID()):
		return 0, invalidParameter("The cursor %.60q is not one that this API has returned: give the member cursor of "+
			"a message, or now, or no cursor for all messages that are kept.", text)
	case run != s.cloud.RunID():
		return 0, &problem{http.StatusGone, "CursorOfAnotherRun", "The cursor is from an earlier start of the " +
			"emulator, whose messages are not kept: messages of that start that you have not read are gone. " +
			"Continue without a cursor to read all messages of this start."}
	case sequence > last:
		return 0, invalidParameter("The cursor %.60q is behind the last message, %s.", text, s.cursor(last))
	}
	return sequence, nil
}
