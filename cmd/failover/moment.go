package main

import (
	"encoding/json"
	"fmt"
	"time"
)

// A moment is the "time" of a reading on standard input. RFC 3339 allows leap seconds, but package
// time does not. A leap second becomes the second after it, as in a system's clock.
type moment time.Time

// UnmarshalJSON decodes a time. It refuses the zero time, which some languages write when a time was
// not set. The outbox would replace the zero time by the present time.
func (m *moment) UnmarshalJSON(text []byte) error {
	var t time.Time
	leap := len(text) > 20 && string(text[18:20]) == "60" // "2016-12-31T23:59:60Z" in quotes
	if leap {
		text = append([]byte(nil), text...)
		copy(text[18:20], "59")
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return err
	}
	if utc := t.UTC(); leap && (utc.Hour() != 23 || utc.Minute() != 59) {
		return fmt.Errorf("%s has no second 60: leap seconds are at 23:59:60 UTC", t.Format("15:04 -07:00"))
	}
	if leap {
		t = t.Add(time.Second)
	}
	if t.IsZero() && string(text) != "null" {
		return fmt.Errorf(`%s is not a time; leave "time" out for the present time`, text)
	}
	*m = moment(t)
	return nil
}
