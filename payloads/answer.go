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

// maxRetryAfter bounds the delay that a service may ask for, so that one wrong answer cannot
// silence a device.
const maxRetryAfter = time.Hour

// An answer is what the answers of DPS and of the twin have in common: the topic
// {prefix}{status}/?$rid={id}&… Sources: azure-docs iot/iot-mqtt-connect-to-iot-dps.md,
// iot/iot-mqtt-connect-to-iot-hub.md.
type answer struct {
	status     int
	requestID  string
	retryAfter time.Duration // delay that the service asks for; zero means none
	query      bag
	bad        error // names the parts of the query that could not be read; nil means that all were read
}

func parseAnswer(prefix, topic string) (answer, error) {
	rest, ok := strings.CutPrefix(topic, prefix)
	digits, query, found := strings.Cut(rest, "/?")
	if !ok || !found {
		return answer{}, fmt.Errorf("topic %.80q is not %s{status}/?$rid={id}", topic, prefix)
	}
	status, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) != 3 || status < 100 || status > 599 {
		return answer{}, fmt.Errorf("status %.80q is not between 100 and 599", digits)
	}
	properties, bad := parseBag(query)
	id, _ := properties.get("$rid")
	if id == "" {
		return answer{}, errors.New("no request ID")
	}
	return answer{int(status), id, retryAfter(properties), properties, bad}, nil
}

// retryAfter returns the delay that a retry-after property gives in seconds. It returns zero if the
// delay is missing or cannot be read.
func retryAfter(b bag) time.Duration {
	for _, p := range b {
		if !strings.EqualFold(p.Name, "retry-after") {
			continue
		}
		seconds, err := strconv.ParseInt(p.Value, 10, 64)
		// For a number out of range, ParseInt returns the nearest int64.
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0
		}
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	return 0
}

// isNull reports whether raw is empty or the JSON value null.
func isNull(raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// errorCode returns the number of an error code, which is written as 401002 or "401002", and 0 if
// it is no integer.
func errorCode(n json.Number) int {
	code, err := strconv.Atoi(n.String())
	if err != nil {
		return 0
	}
	return code
}
