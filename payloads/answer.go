package payloads

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what a service may ask for, so that one wrong answer cannot silence a device.
const maxRetryAfter = time.Hour

// An answer is what the answers of DPS and of the twin have in common: {prefix}{status}/?$rid={id}&…
type answer struct {
	status     int
	requestID  string
	retryAfter time.Duration
	query      Bag
	bad        error // names what could not be read of the query; nil: nothing
}

func parseAnswer(prefix, topic string) (answer, error) {
	rest, ok := strings.CutPrefix(topic, prefix)
	code, query, found := strings.Cut(rest, "/?")
	if !ok || !found {
		return answer{}, fmt.Errorf("topic %.80q is not %s{status}/?$rid={id}", topic, prefix)
	}
	status, err := parseStatus(code)
	if err != nil {
		return answer{}, err
	}
	bag, bad := parseBag(query)
	id, _ := bag.Get("$rid")
	if id == "" {
		return answer{}, errors.New("no request ID")
	}
	return answer{status, id, retryAfter(bag), bag, bad}, nil
}

func parseStatus(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || len(s) != 3 || n < 100 || n > 599 {
		return 0, fmt.Errorf("status %.80q is not between 100 and 599", s)
	}
	return int(n), nil
}

// retryAfter reads the seconds of a delay: 0 when it is absent or makes no sense.
func retryAfter(b Bag) time.Duration {
	for _, p := range b {
		if !strings.EqualFold(p.Name, "retry-after") {
			continue
		}
		seconds, err := strconv.ParseInt(p.Value, 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range, it is the nearest number
			return 0
		}
		seconds = min(max(seconds, 0), int64(maxRetryAfter/time.Second))
		return time.Duration(seconds) * time.Second
	}
	return 0
}

// isNull says that there is no JSON value here, or null.
func isNull(raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// code turns an error code into a number, 0 when it is none. A json.Number takes 401002 and "401002".
func code(n json.Number) int {
	c, err := strconv.Atoi(n.String())
	if err != nil {
		return 0
	}
	return c
}
