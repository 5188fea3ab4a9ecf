package control

import (
	"sync"

	"giantlizard.example/failover/lab/emulator"
)

// An application is the state that IoT Central keeps in addition to the hubs: names of devices,
// models, the last values of telemetry, and the last run of each command.
type application struct {
	cloud *emulator.Cloud

	desiredMu sync.Mutex // held while desired properties are read and changed

	mu            sync.Mutex // guards the fields below; never held while waiting for a device
	deviceRecords map[string]deviceRecord
	models        map[string]model
	values        values
	lastRuns      map[capabilityName]commandRun
}

// A capabilityName is the name of a capability of a device. component is "" if the capability belongs
// to no component.
type capabilityName struct{ device, component, name string }

func newApplication(cloud *emulator.Cloud) *application {
	sample := parseSample()
	return &application{
		cloud: cloud, deviceRecords: map[string]deviceRecord{}, models: map[string]model{sample.id: sample},
		values: values{last: map[capabilityName]value{}}, lastRuns: map[capabilityName]commandRun{},
	}
}

// forgetDevice deletes what the application keeps about a device. It is called with mu held.
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
