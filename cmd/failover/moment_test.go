package main

import (
	"encoding/json"
	"testing"
	"time"
)

func TestReadingTimesAcceptAllOfRFC3339(t *testing.T) {
	for text, want := range map[string]string{
		`"0001-01-01T00:00:00.001Z"`:       "0001-01-01T00:00:00.001Z",
		`"1500-01-01T00:00:00Z"`:           "1500-01-01T00:00:00Z",
		`"1969-12-31T23:59:59.5Z"`:         "1969-12-31T23:59:59.5Z",
		`"2038-01-19T03:14:08Z"`:           "2038-01-19T03:14:08Z",
		`"2262-04-12T00:00:00Z"`:           "2262-04-12T00:00:00Z", // beyond 64 bits of nanoseconds
		`"9999-12-31T23:59:59Z"`:           "9999-12-31T23:59:59Z",
		`"2016-12-31T23:59:60Z"`:           "2017-01-01T00:00:00Z",
		`"2016-12-31T23:59:60.25Z"`:        "2017-01-01T00:00:00.25Z",
		`"2016-12-31T15:59:60-08:00"`:      "2017-01-01T00:00:00Z",
		`"2019-05-05T05:05:05.123+05:30"`:  "2019-05-04T23:35:05.123Z",
		`null`:                             "0001-01-01T00:00:00Z",
		`"2016-12-31T12:00:60Z"`:           "",
		`"2016-12-31T23:59:61Z"`:           "",
		`"0001-01-01T00:00:00Z"`:           "", // what .NET and Go say for a time that was not set
		`"0001-01-01T01:00:00+01:00"`:      "",
		`"yesterday"`:                      "",
		`1480000000`:                       "",
		`"60606060606060606060606060"`:     "",
		`"2016-12-31T23:59:60 and so on"`:  "",
		`["2016-12-31T23:59:60Z","x","y"]`: "",
	} {
		var m moment
		err := json.Unmarshal([]byte(text), &m)
		if got := time.Time(m).UTC().Format(time.RFC3339Nano); err != nil && want != "" || err == nil && got != want {
			t.Errorf("%s: %s, %v, want %q", text, got, err, want)
		}
	}
}
