package control

import (
	"sync"

	"giantlizard.example/failover/lab/emulator"
)

// A desk is what IoT Central keeps beside the cloud: how a device is called, its model, what it sent last and was last asked.
type application struct {
	cloud *emulator.Cloud

	desiredMu sync.Mutex // held from reading desired properties to changing them

	mu            sync.Mutex // guards all below; nobody who holds it waits for a device
	deviceRecords map[string]deviceRecord
	models        map[string]model
	values        values
	lastRuns      map[capabilityName]commandRun
}

// A place is a name in a device, or in a component of it.
type capabilityName struct{ device, component, name string }

func newApplication(cloud *emulator.Cloud) *application {
	sample := parseSample()
	return &application{
		cloud: cloud, deviceRecords: map[string]deviceRecord{}, models: map[string]model{sample.id: sample},
		values: values{last: map[capabilityName]value{}}, lastRuns: map[capabilityName]commandRun{},
	}
}

// forget is called with k.mu held, when a device is deleted.
func (a *application) forgetDevice(device string) {
	delete(a.deviceRecords, device)
	for p := range a.values.last {
		if p.device == device {
			delete(a.values.last, p)
		}
	}
	for p := range a.lastRuns {
		if p.device == device {
			delete(a.lastRuns, p)
		}
	}
}
