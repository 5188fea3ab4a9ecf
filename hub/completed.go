package hub

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"giantlizard.example/failover/statefile"
	"giantlizard.example/failover/transport"
)

const (
	completedLimit = 256 // a hub's queue holds 50
	waitingLimit   = 8   // of one message: a hub has given up the older deliveries
)

// A digest tells a cloud-to-device message from all others: it is over the topic, which holds the message ID and the other
// properties, and the body. A message without an ID has none, for two that are equal may be meant twice.
type digest string

func digestOf(id string, m transport.Message) digest {
	if id == "" {
		return ""
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%d %s%s", len(m.Topic), m.Topic, m.Payload)
	return digest(hex.EncodeToString(hash.Sum(nil)))
}

// completed is what keeps a cloud-to-device message that is delivered again from being handled again: a hub cannot know
// that its handler still runs, or has succeeded and the PUBACK was lost.
type completed struct {
	file statefile.File // the zero File means that a restart forgets

	mu      sync.Mutex
	loaded  bool
	newest  []digest                       // completed, the oldest first
	running map[digest][]transport.Message // and what has been delivered since their handlers started

	saving sync.Mutex // held while the file is written; newest changes under both, so either is enough to read it
}

// completedFile is what the file holds.
type completedFile struct {
	Completed []digest `json:"completed"`
}

func newCompleted(file statefile.File) *completed {
	return &completed{file: file, running: map[digest][]transport.Message{}}
}

// load reads the file, once. An error is a warning.
func (c *completed) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded {
		return nil
	}
	c.loaded = true
	var stored completedFile
	ok, err := c.file.Load(&stored)
	if err != nil {
		return fmt.Errorf("hub: the completed messages: %w", err)
	}
	if ok {
		c.newest = stored.Completed[max(0, len(stored.Completed)-completedLimit):]
	}
	return nil
}

// A standing is how far a message has come when it is delivered.
type standing int

const (
	fresh    standing = iota // handle it, and call end then
	underWay                 // its handler runs, and end will give this delivery back
	done
)

func (c *completed) begin(d digest, m transport.Message) standing {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting, runs := c.running[d]
	switch {
	case d == "":
		return fresh
	case runs:
		waiting = append(waiting, m)
		c.running[d] = waiting[max(0, len(waiting)-waitingLimit):]
		return underWay
	case slices.Contains(c.newest, d):
		return done
	}
	c.running[d] = nil
	return fresh
}

// remember adds a message whose handler has succeeded. It returns when the file is safe; an error is a warning, for
// memory knows the message all the same.
func (c *completed) remember(d digest) error {
	if d == "" {
		return nil
	}
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	c.newest = append(c.newest, d)
	c.newest = c.newest[max(0, len(c.newest)-completedLimit):]
	stored := completedFile{c.newest}
	c.mu.Unlock()
	if err := c.file.Save(stored); err != nil {
		return fmt.Errorf("hub: store the completed messages: %w; %s, or what is delivered again after a restart is handled again",
			err, statefile.Advice(err, "make the state directory writable"))
	}
	return nil
}

// end says that the handler has returned, or was never started, and gives back what has been delivered meanwhile.
func (c *completed) end(d digest) []transport.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.running[d]
	delete(c.running, d)
	return waiting
}
