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
	completedLimit  = 256 // a hub's queue holds 50 messages
	deliveriesLimit = 8   // of one message: the hub does not expect a PUBACK for older ones any more
)

// A digest identifies a cloud-to-device message. It covers the topic, which holds the message ID
// and the other properties, and the body. A message without an ID has none, because two equal ones
// may both be meant.
type digest string

func digestOf(id string, m transport.Message) digest {
	if id == "" {
		return ""
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%d %s%s", len(m.Topic), m.Topic, m.Payload)
	return digest(hex.EncodeToString(hash.Sum(nil)))
}

// completed prevents a cloud-to-device message from being handled again when it is delivered again:
// a hub does not know that its handler still runs, or that it has succeeded and the PUBACK was
// lost.
type completed struct {
	file *statefile.Newest[completedFile]

	mu      sync.Mutex
	loaded  bool
	newest  []digest                       // completed, the oldest first
	running map[digest][]transport.Message // and the deliveries since their handlers started
}

// completedFile is what the file holds.
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

// load reads the file, once. An error is a warning.
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

// A progress says how far a message was handled before a delivery.
type progress int

const (
	isNew       progress = iota // handle it, and then call end
	isRunning                   // the handler runs, and end will return this delivery
	isCompleted                 // its handler has succeeded
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

// remember adds a message whose handler has succeeded. It returns when the file has it or cannot be
// written.
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

// end notes that the handler has returned, or could not be started, and returns the deliveries
// since begin.
func (c *completed) end(d digest) []transport.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	deliveries := c.running[d]
	delete(c.running, d)
	return deliveries
}
