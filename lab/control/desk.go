package control

import (
	"sync"

	"giantlizard.example/failover/lab/emulator"
)

// A desk is what IoT Central keeps beside the cloud: how a device is called, its model, what it sent last and was last asked.
type desk struct {
	cloud *emulator.Cloud

	desiring sync.Mutex // held from reading desired properties to changing them

	mu      sync.Mutex // guards all below; nobody who holds it waits for a device
	records map[string]record
	models  map[string]model
	values  values
	runs    map[place]execution
}

// A place is a name in a device, or in a component of it.
type place struct{ device, component, name string }

func newDesk(cloud *emulator.Cloud) *desk {
	sample := parsedSample()
	return &desk{
		cloud: cloud, records: map[string]record{}, models: map[string]model{sample.id: sample},
		values: values{last: map[place]value{}}, runs: map[place]execution{},
	}
}

// forget is called with k.mu held, when a device is deleted.
func (k *desk) forget(device string) {
	delete(k.records, device)
	for p := range k.values.last {
		if p.device == device {
			delete(k.values.last, p)
		}
	}
	for p := range k.runs {
		if p.device == device {
			delete(k.runs, p)
		}
	}
}
