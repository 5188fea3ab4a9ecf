package control

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// readAtOnce is the number of messages that are taken from the ledger at once. A consumer that does
// not read keeps so many messages in memory.
const readAtOnce = 100

// A stream is an answer that is written bit by bit.
type stream func(w http.ResponseWriter)

// messages streams telemetry as server-sent events. Each message is an event with the cursor as its id
// and the message as its data. An event "missed" says how many messages are no longer kept. An id
// without data is the cursor behind messages that did not match.
// Source of the format: https://html.spec.whatwg.org/multipage/server-sent-events.html.
func (s *Server) messages(r *http.Request, _ []byte) (int, any, error) {
	q, err := s.parseMessageQuery(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, stream(func(w http.ResponseWriter) { s.streamMessages(r.Context(), w, q) }), nil
}

// streamMessages writes messages until ctx ends, the client disconnects, or, if the client does not
// follow, until all messages are sent that were stored when the request came.
func (s *Server) streamMessages(ctx context.Context, w http.ResponseWriter, q messageQuery) {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{}) // a client may follow for days
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	out := &messageWriter{server: s, to: w, query: q, at: q.after}
	end := s.cloud.LastSequence()
	out.writePosition()
	for out.err == nil && control.Flush() == nil {
		deliveries, missed := s.cloud.LedgerAfter(out.at, readAtOnce)
		out.writeMissed(missed)
		for _, d := range deliveries {
			out.write(d)
		}
		if !out.sent {
			out.writePosition()
		}
		switch {
		case !q.follow && out.at >= end:
			return
		case len(deliveries) > 0: // there may be more
		case s.cloud.Wait(ctx, func() bool { return s.cloud.LastSequence() > out.at }) != nil:
			return
		}
	}
}

// A messageWriter writes the events of one stream. After an error it writes nothing more.
type messageWriter struct {
	server *Server
	to     http.ResponseWriter
	query  messageQuery
	at     int64 // sequence number of the last message that was read
	sent   bool  // the client knows the cursor of at
	err    error
}

func (o *messageWriter) printf(format string, values ...any) {
	if o.err == nil {
		_, o.err = fmt.Fprintf(o.to, format, values...)
	}
}

func (o *messageWriter) writePosition() {
	o.printf("id: %s\n\n", o.server.cursor(o.at))
	o.sent = true
}

// writeMissed says that messages have left the ledger before they could be read.
func (o *messageWriter) writeMissed(missed int64) {
	if missed == 0 {
		return
	}
	o.at += missed
	cursor := o.server.cursor(o.at)
	o.printf("event: missed\nid: %s\ndata: {\"missed\":%d,\"cursor\":%q}\n\n", cursor, missed, cursor)
	o.sent = true
}

func (o *messageWriter) write(d emulator.Delivery) {
	o.at, o.sent = d.Sequence, false
	view := o.server.newMessageView(d)
	if o.err != nil || !o.query.matches(view) {
		return
	}
	var line string
	if line, o.err = encodeLine(view); o.err == nil {
		o.printf("id: %s\ndata: %s\n\n", view.Cursor, line)
		o.sent = true
	}
}
