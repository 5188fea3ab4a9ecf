package central_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/central"
)

// streams starts an emulator that answers with a stream of events, and returns a client for it.
func streams(t *testing.T, answer http.HandlerFunc) *central.Client {
	t.Helper()
	a := &application{Server: httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			answer(w, r)
		}))}
	a.Config.ErrorLog = quiet()
	a.StartTLS()
	t.Cleanup(a.Close)
	return a.client(t)
}

func TestMessagesAreReadFromAStreamOfEvents(t *testing.T) {
	var asked string
	c := streams(t, func(w http.ResponseWriter, r *http.Request) {
		query := map[string][]string(r.URL.Query())
		asked = fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Accept"), " ", query)
		_, _ = io.WriteString(w, "id: x-0\n\nevent: missed\nid: x-3\ndata: {\"missed\":3}\n\n: a comment\n"+
			"id: x-4\ndata: {\"body\":\"a: b\"}\n\nid: x-5\nretry: 5\n\n")
	})
	var all []central.MessageEvent
	q := central.MessageQuery{
		Devices: []string{"a&b", "c"}, Hubs: []string{"A"}, Properties: []string{"x=é"}, After: "x-0",
	}
	err := c.Messages(t.Context(), q, func(e central.MessageEvent) error {
		all = append(all, e)
		return nil
	})
	want := []central.MessageEvent{
		{"x-0", "", ""}, {"x-3", "missed", `{"missed":3}`}, {"x-4", "", `{"body":"a: b"}`}, {"x-5", "", ""},
	}
	if err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("%v, %+v", err, all)
	}
	if asked != "GET /lizard/v1/messages text/event-stream map[after:[x-0] device:[a&b c] follow:[false] hub:[A] "+
		"property:[x=é]]" {
		t.Errorf("it asked %s", asked)
	}
}

func TestAStreamThatEndsEarlyIsAnError(t *testing.T) {
	long := "data: " + strings.Repeat("x", 3<<20) + "\n\n"
	for what, c := range map[string]struct {
		follow bool
		answer http.HandlerFunc
		want   string
	}{
		"a stream that follows": {true, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "id: x-0\n\n")
		}, "has ended the stream"},
		"a cut connection": {false, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "id: x-0\n\ndata: {\"a")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "has ended the stream"},
		"a line without end": {true, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) },
			"larger than"},
		"a refusal": {true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusGone)
			_, _ = io.WriteString(w, `{"error":{"code":"CursorOfAnotherRun","message":"It is from an earlier start."}}`)
		}, "answered 410 CursorOfAnotherRun (It is from an earlier start)"},
		"another answer": {true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{}`)
		}, "is not IoT Central's"},
	} {
		q := central.MessageQuery{Follow: c.follow}
		err := streams(t, c.answer).Messages(t.Context(), q, func(central.MessageEvent) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "Canary") {
			t.Errorf("%s: %v", what, err)
		}
		if ended := c.want == "has ended the stream"; errors.Is(err, central.ErrStreamEnded) != ended {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestTheReaderOfAStreamCanEndIt(t *testing.T) {
	c := streams(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, "id: x-0\n\n")
			_ = http.NewResponseController(w).Flush()
		}
	})
	enough := errors.New("enough")
	q := central.MessageQuery{Follow: true}
	if err := c.Messages(t.Context(), q, func(central.MessageEvent) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the reader's error became %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Messages(ctx, q, func(central.MessageEvent) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the end of the context became %v", err)
	}
}
