package central

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// A MessageQuery says which messages of the emulator to read. Messages must match one value of Devices,
// one of Hubs and one of Properties; an empty list matches all messages.
type MessageQuery struct {
	Devices, Hubs []string
	Properties    []string // NAME or NAME=VALUE
	After         string   // a cursor, or "now"; empty means all messages that are kept
	Follow        bool     // wait for new messages
}

// A MessageEvent is one event of the stream of messages.
type MessageEvent struct {
	Cursor string // position behind this event, from which a stream can continue
	Kind   string // "" for a message, "missed" for messages that the emulator no longer keeps
	Data   string // the event as JSON on one line; empty means that only the cursor has changed
}

// eventLimit is the largest size of a line of the stream in bytes. A message has at most 256 KiB, and
// each of its bytes becomes at most six of JSON.
const eventLimit = 2 << 20

// ErrStreamEnded means that the emulator has ended a stream that follows its messages.
var ErrStreamEnded = errors.New("central: the emulator has ended the stream of messages: it seems to have stopped")

// Messages calls each with every event of the stream of messages, until each returns an error, which
// Messages returns, until ctx ends, or, without Follow, until all messages that are kept were read.
func (c *Client) Messages(ctx context.Context, q MessageQuery, each func(MessageEvent) error) error {
	query := url.Values{"follow": {strconv.FormatBool(q.Follow)}}
	for name, values := range map[string][]string{"device": q.Devices, "hub": q.Hubs, "property": q.Properties} {
		if len(values) > 0 {
			query[name] = values
		}
	}
	if q.After != "" {
		query.Set("after", q.After)
	}
	answer, err := c.send(ctx, http.MethodGet, "/lizard/v1/messages?"+query.Encode(), nil, "text/event-stream")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || kind != "text/event-stream" {
		if _, err := c.read(ctx, answer); err != nil {
			return err
		}
		return c.notJSONError(answer)
	}
	err = readEvents(answer.Body, each)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("central: %s: %w", c.host(), ctx.Err())
	case errors.Is(err, errTransfer), err == nil && q.Follow:
		return ErrStreamEnded
	}
	return err
}

// errTransfer wraps an error of reading the stream.
var errTransfer = errors.New("central: messages")

// readEvents reads server-sent events until the end of the stream.
func readEvents(stream io.Reader, each func(MessageEvent) error) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, eventLimit)
	var e MessageEvent
	for lines.Scan() {
		switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
		case "id":
			e.Cursor = value
		case "event":
			e.Kind = value
		case "data":
			e.Data = value
		case "": // the end of an event, or of a comment
			if e == (MessageEvent{}) {
				continue
			}
			if err := each(e); err != nil {
				return err
			}
			e = MessageEvent{}
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("central: messages: a message is larger than %d bytes", eventLimit)
	} else if err != nil {
		return fmt.Errorf("%w: %w", errTransfer, err)
	}
	return nil
}
