package drill

import (
	"context"
	"fmt"
	"sync"
	"time"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/sensor"
	"giantlizard.example/failover/transport"
)

// InProcess is a client that runs the sample device in this process, for tests with a fake clock
// and for a fleet.
type InProcess struct {
	Dial   transport.DialFunc // opens connections; nil means TCP
	Change func(*machine.Settings)
}

type inProcess struct {
	device *machine.Device
	stop   context.CancelFunc // stops the sensor
	work   sync.WaitGroup
	ended  chan struct{}
	err    error         // the error of device.Run; set before ended is closed
	lived  time.Duration // from the start to the end; set before ended is closed
	start  time.Time
}

// Start starts the sample device.
func (c InProcess) Start(p Place) (Running, error) {
	s := &sensor.Sensor{TelemetryInterval: p.Interval, PropertyInterval: 5 * p.Interval}
	settings := machine.Settings{
		Identity: machine.Identity{
			ProvisioningHost: p.ProvisioningHost, IDScope: p.IDScope, RegistrationID: p.DeviceID,
			ModelID: sensor.ModelID,
			Key:     machine.DeviceKey(p.DeviceKey),
		},
		Storage:  machine.Storage{InMemory: true},
		Handlers: s.Handlers(),
		Link:     machine.Link{Dial: c.Dial, RootCAs: transport.FixedRoots(p.RootCAs)},
	}
	if c.Change != nil {
		c.Change(&settings)
	}
	device, err := machine.New(settings)
	if err != nil {
		return nil, fmt.Errorf("drill: %w", err)
	}
	s.Warn = device.Warn
	sensing, stop := context.WithCancel(context.Background())
	r := &inProcess{device: device, stop: stop, ended: make(chan struct{}), start: time.Now()}
	r.work.Go(func() { s.Run(sensing, device) })
	go func() {
		r.err = device.Run(context.Background())
		r.lived = time.Since(r.start)
		close(r.ended)
	}()
	return r, nil
}

func (r *inProcess) Ended() <-chan struct{} { return r.ended }

func (r *inProcess) Stop(ctx context.Context) Usage {
	var u Usage
	select {
	case <-r.ended:
		u.Died = fmt.Sprintf("%s: %v", endedByItself(r.lived), r.err)
	default:
	}
	r.stop()
	r.work.Wait()
	if err := r.device.Close(ctx); err != nil && u.Died == "" {
		u.Died = "did not end well when it was told to: " + err.Error()
	}
	<-r.ended
	u.Elapsed = time.Since(r.start)
	return u
}
