package main

import (
	"errors"
	"time"
)

// durability is the flag that says how safe an accepted reading is. The zero value means "always": it is on the
// disk before Send returns.
type durability struct {
	memory bool
	every  time.Duration
}

func (d *durability) Set(text string) error {
	switch text {
	case "always":
		*d = durability{}
		return nil
	case "memory":
		*d = durability{memory: true}
		return nil
	}
	every, err := time.ParseDuration(text)
	if err != nil || every <= 0 {
		return errors.New("it must be always, memory, or a duration above 0, such as 10s")
	}
	*d = durability{every: every}
	return nil
}

func (d *durability) String() string {
	switch {
	case d.memory:
		return "memory"
	case d.every > 0:
		return d.every.String()
	}
	return "always"
}

func (d *durability) Type() string { return "how" }
