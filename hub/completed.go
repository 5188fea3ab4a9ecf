package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"giantlizard.example/failover/statefile"
	"giantlizard.example/failover/transport"
)

const (
	completedLimit  = 256 // digests that are kept; a hub's queue holds at most 50 messages
	deliveriesLimit = 8   // deliveries kept of one message; the hub no longer expects a PUBACK for older ones
)

// A digest identifies a cloud-to-device message. It covers the topic, which holds the message ID
// and the other properties, and the body. A message without an ID has the empty digest, because two
// equal messages may both be meant.
type digest string

func digestOf(id string, m transport.Message) digest {
	if id == "" {
		return ""
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%d %s%s", len(m.Topic), m.Topic, m.Payload)
	return digest(hex.EncodeToString(hash.Sum(nil)))
}

// completed prevents a cloud-to-device message from being handled again when the hub delivers it
// again: the hub does not know that the message's handler still runs, or that the handler has
// succeeded and the PUBACK was lost.
type completed struct {
	file *statefile.Newest[completedFile]

	mu      sync.Mutex
	loaded  bool
	newest  []digest                       // digests of completed messages, the oldest first
	running map[digest][]transport.Message // for each message whose handler runs, its deliveries since the start
}

// completedFile is the content of the file of completed messages.
type completedFile struct {
	Completed []digest `json:"completed"`
}

func newCompleted(file statefile.File) *completed {
	c := &completed{running: map[digest][]transport.Message{}}
	c.file = statefile.NewNewest(file, func() completedFile {
		c.mu.Lock()
		defer c.mu.Unlock()
		return completedFile{c.newest}
	})
	return c
}

// load reads the file when it is called for the first time. The caller reports an error as a
// warning.
func (c *completed) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded {
		return nil
	}
	c.loaded = true
	stored, ok, err := c.file.Load()
	if err != nil {
		return fmt.Errorf("hub: the completed messages: %w", err)
	}
	if ok {
		c.newest = stored.Completed[max(0, len(stored.Completed)-completedLimit):]
	}
	return nil
}

// A progress says how far the device had handled a message when the hub delivered it.
type progress int

const (
	isNew       progress = iota // the caller must run the handler, and then call end
	isRunning                   // the handler still runs; end will return this delivery
	isCompleted                 // the handler has succeeded
)

func (c *completed) begin(d digest, m transport.Message) progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	deliveries, runs := c.running[d]
	switch {
	case d == "":
		return isNew
	case runs:
		deliveries = append(deliveries, m)
		c.running[d] = deliveries[max(0, len(deliveries)-deliveriesLimit):]
		return isRunning
	case slices.Contains(c.newest, d):
		return isCompleted
	}
	c.running[d] = nil
	return isNew
}

// remember adds a message whose handler has succeeded. It returns when the file holds the digest or
// cannot be written.
func (c *completed) remember(d digest) {
	if d == "" {
		return
	}
	c.mu.Lock()
	c.newest = append(c.newest, d)
	c.newest = c.newest[max(0, len(c.newest)-completedLimit):]
	c.mu.Unlock()
	_ = c.file.Await(context.Background(), c.file.Changed())
}

// end notes that the handler has returned, or could not be started, and returns the deliveries of
// the message since begin.
func (c *completed) end(d digest) []transport.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	deliveries := c.running[d]
	delete(c.running, d)
	return deliveries
}
