package main

import (
	"errors"
	"math"
	"strconv"
	"time"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/machine"
)

// A durability is the value of the flag that decides how safely accepted readings are stored.
type durability struct{ storage *machine.Storage }

func (d durability) Set(text string) error {
	switch text {
	case "always":
		d.storage.InMemory, d.storage.SyncEvery = false, 0
		return nil
	case "memory":
		d.storage.InMemory, d.storage.SyncEvery = true, 0
		return nil
	}
	every, err := time.ParseDuration(text)
	if err != nil || every <= 0 {
		return errors.New("it must be always, memory, or a duration above 0, such as 10s")
	}
	d.storage.InMemory, d.storage.SyncEvery = false, every
	return nil
}

func (d durability) String() string {
	switch {
	case d.storage.InMemory:
		return "memory"
	case d.storage.SyncEvery > 0:
		return d.storage.SyncEvery.String()
	}
	return "always"
}

func (d durability) Type() string { return "how" }

// A drainRate is the value of the flag for the rate at which the backlog is sent. 0 and infinity mean Unpaced.
type drainRate struct{ delivery *hub.Delivery }

func (r drainRate) Set(text string) error {
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return err
	}
	if math.IsInf(rate, 1) {
		rate = 0
	}
	r.delivery.DrainRate, r.delivery.Unpaced = rate, rate == 0
	return nil
}

func (r drainRate) String() string { return strconv.FormatFloat(r.delivery.DrainRate, 'g', -1, 64) }

func (r drainRate) Type() string { return "float64" }

// An offFlag is the value of a flag that disables one kind of data or calls, such as telemetry.
type offFlag struct {
	off  *hub.Kinds
	kind hub.Kinds
}

func (o offFlag) Set(text string) error {
	disabled, err := strconv.ParseBool(text)
	if err != nil {
		return err
	}
	*o.off &^= o.kind
	if disabled {
		*o.off |= o.kind
	}
	return nil
}

func (o offFlag) String() string { return strconv.FormatBool(o.off.Has(o.kind)) }

func (o offFlag) Type() string { return "bool" }
