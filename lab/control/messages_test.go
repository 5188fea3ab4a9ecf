package control_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

const messagesPath = "/lizard/v1/messages"

// An event is one server-sent event.
type event struct {
	kind, id string
	data     string
}

// An eventStream reads the events of an answer.
type eventStream struct {
	world
	*http.Response
	lines *bufio.Reader
}

// open starts to read the stream of messages.
func (w world) open(query string) *eventStream {
	w.Helper()
	answer, err := w.client.Do(w.request("GET", messagesPath+query, ""))
	if err != nil {
		w.Fatal(err)
	}
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || kind != "text/event-stream" {
		w.Fatalf("%s: %d %s", query, answer.StatusCode, kind)
	}
	return &eventStream{w, answer, bufio.NewReader(answer.Body)}
}

// next returns the next event, or false at the end of the stream.
func (s *eventStream) next() (e event, more bool) {
	s.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		switch name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); {
		case err != nil:
			return event{}, false
		case name == "id":
			e.id = value
		case name == "event":
			e.kind = value
		case name == "data":
			e.data = value
		case line == "\n":
			return e, true
		default:
			s.Fatalf("the line %q", line)
		}
	}
}

// message skips events without data, and returns the next message.
func (s *eventStream) message() map[string]any {
	s.Helper()
	for {
		e, more := s.next()
		if !more {
			s.Fatal("the stream has ended")
		}
		if e.data == "" {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(e.data), &m); err != nil || e.kind == "" && m["cursor"] != e.id {
			s.Fatalf("the event %+v: %v", e, err)
		}
		return m
	}
}

// stored returns the events with data of all messages that are kept.
func (w world) stored(query string) (all []event) {
	w.Helper()
	s := w.open(query)
	defer s.Body.Close()
	for {
		e, more := s.next()
		if !more {
			return all
		}
		if e.data != "" {
			all = append(all, e)
		}
	}
}

// bodies returns the bodies of the messages among events, as JSON.
func bodies(t *testing.T, all []event) (texts []string) {
	t.Helper()
	for _, e := range all {
		var m struct{ Body json.RawMessage }
		if err := json.Unmarshal([]byte(e.data), &m); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(m.Body))
	}
	return texts
}

func (g *testDevice) send(bag, body string) {
	g.Helper()
	g.wait(g.Publish("devices/"+device+"/messages/events/"+bag, 1, false, body))
}

func TestAMessageHasWhatAConsumerOfEventHubsExpects(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		g.send("%24.mid=m-1&%24.ct=application%2Fjson&%24.ce=utf-8&%24.sub=part&%24.new=x&"+
			"iothub-creation-time-utc=2000&line=4", `{"temp": 21.50, "big": 12345678901234567890}`)
		all := w.stored("?follow=false")
		if len(all) != 1 || all[0].id != w.RunID()+"-1" || all[0].kind != "" {
			t.Fatalf("%+v", all)
		}
		want := `{"cursor":"` + w.RunID() + `-1","device":"dev1","hub":"A","sequence":1,` +
			`"enqueuedTime":"2000-01-01T00:00:00.0000000Z","systemProperties":{"$.new":"x",` +
			`"content-encoding":"utf-8","content-type":"application/json","dt-dataschema":"dtmi:Sample:Failover;1",` +
			`"dt-subject":"part",` +
			`"iothub-connection-auth-method":"{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\"}",` +
			`"iothub-connection-device-id":"dev1","iothub-enqueuedtime":"2000-01-01T00:00:00.0000000Z",` +
			`"iothub-message-source":"Telemetry","message-id":"m-1"},` +
			`"properties":{"iothub-creation-time-utc":"2000","line":"4"},` +
			`"bodyType":"json","body":{"temp":21.50,"big":12345678901234567890}}`
		if all[0].data != want {
			t.Errorf("got  %s\nwant %s", all[0].data, want)
		}
	})
}

func TestABodyIsJSONOrTextOrBase64(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		for _, c := range []struct{ bag, body, kind, shown string }{
			{"", `5`, "json", `5`},
			{"", "[1,\n 2]", "json", `[1,2]`},
			{"", "{\"a\":1,\"a\":2}", "json", `{"a":1,"a":2}`},
			{"", "\"\u2028 \u0085 \u2029\"", "json", `"\u2028 \u0085 \u2029"`},
			{"", "21.5 degrees", "text", `"21.5 degrees"`},
			{"", "<\"a\"\n\r\u2028>", "text", `"<\"a\"\n\r\u2028>"`},
			{"", "", "text", `""`},
			{"", "\xff\x00", "base64", `"/wA="`},
			{"", "{\"a\":\"\xff\"}", "base64", `"eyJhIjoi/yJ9"`},
			{"%24.ct=application%2Fjson%3Bcharset%3Dutf-8", `{}`, "json", `{}`},
			{"%24.ct=application%2Fcloudevents%2Bjson", `{}`, "json", `{}`},
			{"%24.ct=application%2Fjson", `{`, "text", `"{"`},
			{"%24.ct=text%2Fplain", `5`, "text", `"5"`},
			{"%24.ce=gzip", `5`, "base64", `"NQ=="`},
			{"%24.ce=UTF-8", `5`, "json", `5`},
		} {
			from := w.RunID() + fmt.Sprintf("-%d", w.LastSequence())
			g.send(c.bag, c.body)
			all := w.stored("?follow=false&after=" + from)
			if len(all) != 1 {
				t.Fatalf("%q: %+v", c.body, all)
			}
			if want := `"bodyType":"` + c.kind + `","body":` + c.shown + `}`; !strings.HasSuffix(all[0].data, want) {
				t.Errorf("%s %q: %s, want %s", c.bag, c.body, all[0].data, want)
			}
		}
	})
}

func TestAConsumerThatWaitsGetsEachNewMessage(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		g.send("", "1")
		s, now := w.open(""), w.open("?after=now")
		defer s.Body.Close()
		defer now.Body.Close()
		if e, _ := now.next(); e.id != w.RunID()+"-1" || e.data != "" {
			t.Errorf("it begins with %+v", e)
		}
		if m := s.message(); m["body"] != 1.0 {
			t.Errorf("the first message is %v", m)
		}
		for n := 2; n <= 4; n++ {
			time.Sleep(10 * time.Minute) // longer than all timeouts of the server
			g.send("", fmt.Sprint(n))
			for _, each := range []*eventStream{s, now} {
				if m := each.message(); m["body"] != float64(n) || m["sequence"] != float64(n) {
					t.Errorf("message %d is %v", n, m)
				}
			}
		}
	})
}

func TestAConsumerThatReturnsWithItsCursorMissesNothing(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		for n := range 250 { // more than are taken from the ledger at once
			g.send("", fmt.Sprint(n))
		}
		all := w.stored("?follow=false")
		if len(all) != 250 {
			t.Fatalf("%d messages", len(all))
		}
		for _, read := range []int{1, 99, 100, 101, 249, 250} {
			r := w.request("GET", messagesPath+"?follow=false&after=now", "")
			r.Header.Set("Last-Event-ID", all[read-1].id) // it is newer than the query of the first request
			rest := strings.Count(w.do(r).text, "data: ")
			if after := w.stored("?follow=false&after=" + all[read-1].id); len(after) != 250-read || rest != 250-read ||
				len(after) > 0 && after[0] != all[read] {
				t.Errorf("after %d messages: %d and %d", read, len(after), rest)
			}
		}
	})
}

func TestAMessageThatDoesNotMatchMovesTheCursorToo(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		s := w.open("?device=other")
		defer s.Body.Close()
		for n := range 3 {
			if e, _ := s.next(); e.id != w.RunID()+fmt.Sprintf("-%d", n) || e.data != "" {
				t.Errorf("after %d messages, the event is %+v", n, e)
			}
			g.send("", "x")
		}
	})
}

func TestMessagesAreFiltered(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		g.send("line=4&%24.sub=part", "1")
		g.send("line=5&kind=a%3Db", "2")
		w.MoveDevice(device, "B")
		g = w.newTestDevice()
		g.send("", "3")
		for query, want := range map[string]string{
			"":                              "1 2 3",
			"&device=dev1":                  "1 2 3",
			"&device=dev2":                  "",
			"&device=dev2&device=dev1":      "1 2 3",
			"&hub=A":                        "1 2",
			"&hub=B&device=dev1":            "3",
			"&hub=A&hub=B":                  "1 2 3",
			"&property=line":                "1 2",
			"&property=line%3D4":            "1",
			"&property=line%3D4&property=x": "1",
			"&property=line%3D":             "",
			"&property=kind%3Da%3Db":        "2",
			"&property=dt-subject%3Dpart":   "1",
			"&property=iothub-message-source%3DTelemetry&hub=B": "3",
			"&property=line&hub=B":                              "",
		} {
			if got := strings.Join(bodies(t, w.stored("?follow=false"+query)), " "); got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
	})
}

func TestWhatIsNoLongerKeptIsSaid(t *testing.T) {
	inBubble(t, emulator.Config{LedgerLimit: 64 << 10}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		g.send("", "1")
		first := w.stored("?follow=false")[0].id
		kilobytes := strings.Repeat("x", 16<<10)
		for range 6 {
			g.send("", kilobytes)
		}
		kept := len(w.Ledger())
		if kept < 2 || kept > 4 {
			t.Fatalf("%d messages are kept", kept)
		}
		for query, missed := range map[string]int{"": 7 - kept, "&after=" + first: 6 - kept, "&device=none": 7 - kept} {
			all := w.stored("?follow=false" + query)
			cursor := fmt.Sprintf("%s-%d", w.RunID(), 7-kept)
			want := event{"missed", cursor, fmt.Sprintf(`{"missed":%d,"cursor":"%s"}`, missed, cursor)}
			if len(all) == 0 || all[0] != want {
				t.Fatalf("%s: %.200v, want %+v", query, all, want)
			}
			if more := len(all) - 1; more != kept && query != "&device=none" {
				t.Errorf("%s: %d messages, but %d are kept", query, more, kept)
			}
			if all := w.stored("?follow=false&after=" + cursor); len(all) != kept || all[0].kind != "" {
				t.Errorf("after the cursor of what was missed: %.200v", all)
			}
		}
	})
}

func TestACursorOfAnotherRunIsRefused(t *testing.T) {
	before, w := onSockets(t), onSockets(t)
	w.wantError(410, "CursorOfAnotherRun", "from an earlier start of the emulator", "GET",
		messagesPath+"?after="+before.RunID()+"-0", "")
	for _, cursor := range []string{"x", "-1", w.RunID(), w.RunID() + "-", w.RunID() + "-x", w.RunID() + "--1", "0",
		"short-1"} {
		w.wantError(400, "InvalidParameter", "is not one that this API has returned", "GET",
			messagesPath+"?after="+cursor, "")
	}
	w.wantError(400, "InvalidParameter", "behind the last message, "+w.RunID()+"-0", "GET",
		messagesPath+"?after="+w.RunID()+"-1", "")
}

func TestAnUnusableQueryForMessagesIsRefused(t *testing.T) {
	w := onSockets(t)
	for query, part := range map[string]string{
		"?devices=dev1": `"devices" is unknown`, "?hub=C": `no hub "C"`, "?follow=maybe": "true or false",
		"?follow=": "true or false", "?after=now&after=now": "given once", "?follow=1&follow=1": "given once",
		"?a=%zz": "invalid URL escape",
	} {
		w.wantError(400, "InvalidParameter", part, "GET", messagesPath+query, "")
	}
	r := w.request("GET", messagesPath, "")
	r.Header.Del("Authorization")
	w.do(r).wantError(t, 401, "Unauthorized", "")
}

// The consumer opens the stream and reads nothing until the device has sent far more than buffers hold.
func TestAConsumerThatDoesNotReadDelaysNoDevice(t *testing.T) {
	w := onSockets(t)
	g := w.newTestDevice()
	s := w.open("")
	defer s.Body.Close()
	const count = 80
	body := `"` + strings.Repeat("x", 250_000) + `"`
	for range count {
		g.send("", body)
	}
	for n := range count {
		if m := s.message(); m["sequence"] != float64(n+1) {
			t.Fatalf("after message %d came %v", n, m["sequence"])
		}
	}
}

func TestCloseEndsAStreamAtOnce(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		s := w.open("")
		ended := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, s.Body)
			close(ended)
		}()
		synctest.Wait()
		began := time.Now()
		if err := w.server.Close(); err != nil {
			t.Error(err)
		}
		<-ended
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// The last value stays known when its message has left the ledger, also if nobody has asked before.
func TestTheLastValueOutlivesItsMessage(t *testing.T) {
	inBubble(t, emulator.Config{LedgerLimit: 1}, func(t *testing.T, w world) {
		g := w.newTestDevice()
		g.send("", `{"temp":21.5}`)
		synctest.Wait()
		g.send("", `{"humidity":40}`)
		if kept := len(w.Ledger()); kept != 1 {
			t.Fatalf("%d messages are kept", kept)
		}
		wantJSON(t, w.want(200, "GET", devicePath+"/telemetry/temp"+version, "")["value"], "21.5")
	})
}
