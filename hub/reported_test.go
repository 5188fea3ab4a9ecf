package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/statefile"
	"giantlizard.example/failover/transport"
)

func ackOf(component, name, value string, version int64) payloads.AcknowledgedProperty {
	return payloads.AcknowledgedProperty{
		DesiredProperty: payloads.DesiredProperty{Component: component, Name: name},
		PropertyAck:     payloads.PropertyAck{Value: json.RawMessage(value), Code: 200, Version: version},
	}
}

func TestReportThatJSONWouldChangeIsRefused(t *testing.T) {
	r := newReported(statefile.File{})
	for _, patch := range []map[string]any{
		{"a\xff": 1, "a\xfe": 2}, {"a": "\xff"}, {"a": []string{"\xff"}}, {"a": map[string]int{"\xff": 1}},
		{"a": json.RawMessage(`{"b":1,"b":2}`)}, {"a": json.RawMessage(`"\ud800"`)}, {"a": json.RawMessage("\"\xff\"")},
		{"a": struct{ B any }{json.RawMessage(`{"\ud800":1,"\udc00":2}`)}},
	} {
		if err := r.report(patch); err == nil {
			t.Errorf("%q was accepted as %s", patch, text(r.take().patches()))
		}
	}
	exact := `{"a":{"n":4503599627370495,"d":1.50,"s":"\ufffd","é":"\ud834\udd1e"}}`
	if err := r.report(map[string]any{"a": json.RawMessage(exact[5 : len(exact)-1])}); err != nil {
		t.Error(err)
	}
	if got := text(r.take().patches()); !payloads.SameJSON(json.RawMessage(got), json.RawMessage(exact)) {
		t.Errorf("%s became %s", exact, got)
	}
}

func TestTwinAnswerWithAnUnreadablePropertyConfirmsTheReport(t *testing.T) {
	h, records := commanded(t, "", nil)
	answer := make(chan payloads.TwinAnswer, 1)
	h.twin.requests = map[string]chan payloads.TwinAnswer{"7": answer}
	h.receive(transport.Message{Topic: "$iothub/twin/res/204/?$rid=7&$version=x&note=100%"})
	select {
	case a := <-answer:
		if a.Status != 204 {
			t.Errorf("the answer is %+v", a)
		}
	default:
		t.Error("the request got no answer")
	}
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	if r := <-records; r.Kind != observe.Warning || !strings.Contains(r.Error, `"note=100%"`) {
		t.Errorf("the record is %+v", r)
	}
}

func TestUnconfirmedReportDoesNotReplaceNewerOnes(t *testing.T) {
	r := newReported(statefile.File{})
	r.report(object(t, `{"a":1,"b":1,"c":null}`))
	r.acknowledge(ackOf("", "x", "1", 1))
	r.acknowledge(ackOf("", "y", "1", 1))
	r.take()
	r.report(object(t, `{"a":2,"c":{"n":1}}`))
	r.acknowledge(ackOf("", "x", "2", 2))
	r.giveBack()
	want := `{"c":null} | {"a":2,"b":1,"c":{"n":1},` +
		`"x":{"value":2,"ac":200,"av":2,"ad":null},"y":{"value":1,"ac":200,"av":1,"ad":null}}`
	if got := text(r.take().patches()); got != want {
		t.Errorf("%s", got)
	}
}

func TestPendingReportDoesNotChangeWithTheCallersMap(t *testing.T) {
	r := newReported(statefile.File{})
	inner := map[string]any{"x": 1}
	r.report(map[string]any{"a": inner})
	inner["x"] = 2
	if got := text(r.take().patches()); got != `{"a":{"x":1}}` {
		t.Errorf("%s", got)
	}
}

func TestSmallReportsThatDoNotFitTogetherAreRefused(t *testing.T) {
	r := newReported(statefile.File{})
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = r.report(map[string]any{strings.Repeat("k", i+1): strings.Repeat("v", 4000)})
	}
	if err == nil {
		t.Error("400 kB of reported properties were accepted")
	}
	if r.pending.count() == 0 {
		t.Error("what was accepted before has gone")
	}
}

func TestAcknowledgementsTakeNoRoomFromReports(t *testing.T) {
	r := newReported(statefile.File{})
	for i := range 10 {
		r.acknowledge(ackOf("", fmt.Sprint("p", i), `"`+strings.Repeat("v", 4000)+`"`, 1))
	}
	if err := r.report(map[string]any{"battery": 80}); err != nil {
		t.Error(err)
	}
}

// The object must not be merged into that of the acknowledgement before.
func TestAcknowledgementWithAnObjectReplacesTheOneBefore(t *testing.T) {
	r := newReported(statefile.File{})
	r.acknowledge(ackOf("", "limits", `{"low":1}`, 4))
	r.acknowledge(ackOf("c", "limits", `{}`, 4))
	want := `{"c":{"__t":"c","limits":{"value":null}},"limits":{"value":null}} | ` +
		`{"c":{"__t":"c","limits":{"value":{},"ac":200,"av":4,"ad":null}},` +
		`"limits":{"value":{"low":1},"ac":200,"av":4,"ad":null}}`
	if got := text(r.take().patches()); got != want {
		t.Errorf("%s", got)
	}
}

// A device may also report a desired property itself, or remove it. The later of the two counts.
func TestReportsAndAcknowledgementsOfOnePropertyKeepTheirOrder(t *testing.T) {
	const ack = `{"ac":200,"ad":null,"av":7,"value":3}`
	const both = `{"fan":{"value":3,"ac":200,"av":7,"ad":null},"x":1}`
	for name, c := range map[string]struct {
		report                string
		ackFirst, reportFirst string // what is then pending
	}{
		"the property": {
			`{"fan":{"value":5,"ac":203,"av":0}}`, `{"fan":{"ac":203,"ad":null,"av":0,"value":5}}`, `{"fan":` + ack +
				`}`,
		},
		"its removal": {`{"fan":null}`, `{"fan":null}`, `{"fan":null} | {"fan":` + ack + `}`},
		"another":     {`{"x":1}`, both, both},
		"in a component": {
			`{"c":{"__t":"c","fan":1}}`, `{"c":{"__t":"c","fan":1}}`,
			`{"c":{"__t":"c","fan":null}} | {"c":{"__t":"c","fan":` + ack + `}}`,
		},
		"a whole component": {`{"c":null}`, `{"c":null}`, `{"c":null} | {"c":{"__t":"c","fan":` + ack + `}}`},
	} {
		component := ""
		if strings.HasPrefix(c.report, `{"c"`) {
			component = "c"
		}
		ackFirst, reportFirst := newReported(statefile.File{}), newReported(statefile.File{})
		ackFirst.acknowledge(ackOf(component, "fan", "3", 7))
		ackFirst.report(object(t, c.report))
		reportFirst.report(object(t, c.report))
		reportFirst.acknowledge(ackOf(component, "fan", "3", 7))
		if got := text(ackFirst.take().patches()); got != c.ackFirst {
			t.Errorf("%s, acknowledged before: %s", name, got)
		}
		if got := text(reportFirst.take().patches()); got != c.reportFirst {
			t.Errorf("%s, acknowledged after: %s", name, got)
		}
	}
}

// A component is removed and reported anew, and a property of it is acknowledged with an object.
func TestReportedRemovalWinsOverWhatAnAcknowledgementClears(t *testing.T) {
	r := newReported(statefile.File{})
	r.report(object(t, `{"c":null}`))
	r.report(object(t, `{"c":{"__t":"c","x":1}}`))
	r.acknowledge(ackOf("c", "limits", `{"low":1}`, 4))
	want := `{"c":null} | {"c":{"__t":"c","limits":{"value":{"low":1},"ac":200,"av":4,"ad":null},"x":1}}`
	if got := text(r.take().patches()); got != want {
		t.Errorf("%s", got)
	}
}

// A hub does not count a null. But a message that is too large for every hub would end each session.
func TestRemovalsThatExceedAMessageAreRefused(t *testing.T) {
	r := newReported(statefile.File{})
	var err error
	for i := 0; err == nil && i < 300; i++ {
		err = r.report(map[string]any{fmt.Sprintf("%01000d", i): nil})
	}
	if err == nil {
		t.Error("300 KB are pending for one message")
	}
	if got, _ := json.Marshal(r.take().patches()[0]); len(got) > payloads.MaxMessageBytes {
		t.Errorf("a message of %d bytes", len(got))
	}
}
