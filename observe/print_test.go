package observe_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"giantlizard.example/failover/observe"
)

var kinds = []observe.Kind{
	observe.Transition, observe.Waiting, observe.Outcome, observe.Accepted, observe.Delivered, observe.Dropped,
	observe.IllegalEvent, observe.Handled, observe.Warning, observe.Note, observe.Payload, observe.Clock,
}

// printed is what the printer makes of records.
func printed(json bool, least observe.Level, records ...observe.Record) string {
	var b bytes.Buffer
	tell := observe.NewPrinter(&b, json, least)
	for _, r := range records {
		tell(r)
	}
	return b.String()
}

// full is a record in which every field has a value of its own, those that will be added one day too.
func full(t *testing.T) observe.Record {
	t.Helper()
	var r observe.Record
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Type() == reflect.TypeFor[time.Time]():
			f.Set(reflect.ValueOf(time.Date(2026, 3, 1, 8, 0, i, 123456789, time.UTC)))
		case f.Kind() == reflect.String:
			f.SetString(fmt.Sprintf("value %d", i))
		case f.CanInt():
			f.SetInt(int64(1000 + i))
		default:
			t.Fatalf("a field of type %s: say here how it is filled", f.Type())
		}
	}
	r.Level = observe.Info
	return r
}

func TestPrintedLineIsReadBackAsTheSameRecord(t *testing.T) {
	for _, kind := range kinds {
		for _, level := range []observe.Level{observe.Debug, observe.Info, observe.Warn} {
			bare := observe.Record{Time: time.Date(2026, 3, 1, 8, 0, 0, 1, time.UTC), Kind: kind,
				Level: level}.Describe()
			whole := full(t)
			whole.Kind, whole.Level = kind, level
			for _, want := range []observe.Record{bare, whole} {
				var got observe.Record
				line := printed(true, observe.Debug, want)
				if err := json.Unmarshal([]byte(line), &got); err != nil || got != want {
					t.Errorf("%s came back as %+v, %v; want %+v", line, got, err, want)
				}
			}
		}
	}
}

func FuzzPrintedLineIsReadBackAsTheSameRecord(f *testing.F) {
	f.Add("lizard-1", "\"quoted\"\\\n\t\x00\x7f", "ünï\u2028<&>", int64(9), 3, int64(1))
	f.Add("", "", "", int64(-1), -1, int64(-1))
	f.Add("\xff", "{}", "]", int64(1<<62), 0, int64(1<<40))
	f.Fuzz(func(t *testing.T, a, b, c string, ms int64, n int, at int64) {
		now := time.Unix(at%(1<<37), at%1e9).UTC() // years with four digits
		if now.Year() < 0 || now.Year() > 9999 {
			return
		}
		for _, kind := range kinds {
			want := observe.Record{
				Time: now, Level: observe.Info, Kind: kind, Device: a, From: b, To: c, State: a, Event: b, Cause: c,
				Error: b,
				Hub:   a, FromHub: b, Attempt: n, SpentMS: ms, Next: now, Outcome: c, ID: a, Name: b, Status: n,
				Repeated: n,
			}.Describe()
			var got observe.Record
			line := printed(true, observe.Debug, want)
			if err := json.Unmarshal([]byte(line), &got); err != nil || strings.Count(line, "\n") != 1 {
				t.Fatalf("not a line of JSON: %q, %v", line, err)
			}
			if utf8.ValidString(a+"/"+b+"/"+c) && got != want {
				t.Errorf("%s came back as %+v, want %+v", line, got, want)
			}
			if strings.ContainsAny(strings.TrimSuffix(printed(false, observe.Debug, want), "\n"), "\n\r\x1b\x00") {
				t.Errorf("%q breaks out of its line", want.Message)
			}
		}
	})
}

func TestPrinterAndMarshalerWriteTheSameShape(t *testing.T) {
	r := full(t)
	marshaled, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	if err := json.Unmarshal(marshaled, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(printed(true, observe.Debug, r)), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the printer writes %v, json %v", got, want)
	}
}

func TestTimesArePrintedInUTC(t *testing.T) {
	r := observe.Record{Time: time.Date(2026, 3, 1, 8, 0, 0, 0, time.FixedZone("", 3600)), Kind: observe.Note}
	if line := printed(true, observe.Debug, r); !strings.Contains(line, `"time":"2026-03-01T07:00:00Z"`) {
		t.Error(line)
	}
}

func TestOnlyRecordsOfTheLevelAndAboveArePrinted(t *testing.T) {
	var all []observe.Record
	for _, level := range []observe.Level{observe.Debug, observe.Info, observe.Warn} {
		all = append(all, observe.Record{Kind: observe.Note, Level: level, Message: "a note"})
	}
	for least, want := range map[observe.Level]int{
		observe.Debug: 3, observe.Info: 2, observe.Warn: 1, "": 2, "loud": 2,
	} {
		for _, asJSON := range []bool{true, false} {
			if got := strings.Count(printed(asJSON, least, all...), "\n"); got != want {
				t.Errorf("from level %q on, %d records are printed, want %d", least, got, want)
			}
		}
	}
}

func TestConsoleShowsMessagesForPeople(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 5e6, time.Local)
	lost := observe.Record{
		Time: now, Level: observe.Warn, Kind: observe.Transition, Device: "lizard-1", From: "Connected", Event: "lost",
		To: "Failover", Hub: "hub-a", Cause: "closed", Error: "transport: hub-a: closed: EOF", SpentMS: 12300,
		Repeated: 13,
	}
	wait := observe.Record{
		Time: now, Level: observe.Warn, Kind: observe.Waiting, State: "Failover", Event: "retry-hub",
		Next:  now.Add(time.Second),
		Cause: "refused", Error: "transport: hub-a: refused", Repeated: 7,
	}
	taken := observe.Record{Time: now, Level: observe.Debug, Kind: observe.Accepted, ID: "9f-1"}
	named := observe.Record{Time: now, Level: observe.Warn, Kind: observe.Warning, Message: "a twin request failed",
		Error: "no answer"}
	plain := observe.Record{Time: now, Level: observe.Warn, Kind: observe.Warning, Error: "one\ntwo"}
	rude := observe.Record{Time: now, Kind: observe.Handled, Name: "method \x1b[2J\nforged", Status: 404}
	const want = `08:00:00.005 WRN Connected -> Failover on lost at hub-a (closed) ` +
		`error="transport: hub-a: closed: EOF" repeated=13
08:00:00.005 WRN next: retry-hub in 1.0 s (refused) repeated=7
08:00:00.005 DBG taken 9f-1
08:00:00.005 WRN a twin request failed error="no answer"
08:00:00.005 WRN one two
08:00:00.005 INF method �[2J forged answered 404
`
	if got := printed(false, observe.Debug, lost, wait, taken, named, plain, rude); got != want {
		t.Errorf("the console shows\n%swant\n%s", got, want)
	}
}

type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

func TestRecordIsOneWriteOfOneLine(t *testing.T) {
	for _, asJSON := range []bool{true, false} {
		var w writes
		tell := observe.NewPrinter(&w, asJSON, observe.Debug)
		tell(full(t))
		tell(full(t))
		if len(w) != 2 || strings.Count(w[0], "\n") != 1 || !strings.HasSuffix(w[0], "\n") {
			t.Errorf("%q", w)
		}
	}
}
