package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/sensor"
)

func runCommand() *cobra.Command {
	var s settings
	groups := s.groups()
	c := &cobra.Command{
		Use: "run", Short: "Run the sample device against DPS and IoT Hub, real or emulated", GroupID: "device", Args: cobra.NoArgs,
		Long: "run is the sample device: it asks DPS for its hub, sends a reading every few seconds, and stays connected.\n" +
			"Readings are taken and kept while there is no hub. The log goes to standard error.\n\n" + stdinHelp + "\n\n" + exitCodes,
		Example: "  export FAILOVER_ID_SCOPE=0ne00000000 FAILOVER_DEVICE_ID=dev1 FAILOVER_GROUP_KEY_FILE=./group.key\n  failover run",
		RunE: func(c *cobra.Command, _ []string) error {
			device, err := s.device(c.Flags())
			if err != nil {
				s.printWarnings()
				return usage(err)
			}
			return runDevice(untilSignal(c.Context()), device, &s)
		},
	}
	register(c, groups)
	return c
}

// runDevice joins the device, the source of its readings and the log, and waits for the end of all three.
func runDevice(ctx context.Context, d machine.Settings, s *settings) error {
	source := &sensor.Sensor{TelemetryInterval: s.telemetryInterval, PropertyInterval: s.propertyInterval}
	if d.Off.Has(hub.Telemetry) {
		source.TelemetryInterval = 0
	}
	if d.Off.Has(hub.Reported) {
		source.PropertyInterval = 0
	}
	if !s.stdin {
		handlers := source.Handlers()
		handlers.Timeout = d.Handlers.Timeout
		d.Handlers = handlers
	}
	log := observe.NewFan(observe.Thin(observe.NewPrinter(&printer{to: os.Stderr}, s.logFormat == "json", observe.Level(s.logLevel))))
	log.Start()
	defer closeLog(log) // apart from the device, so that a log that nobody reads costs it neither time nor its good end
	d.Observers, d.NoDebug = []func(machine.Record){log.Emit}, s.logLevel != "debug"
	device, err := machine.New(d)
	if err != nil {
		return err // the settings have been checked
	}
	source.Warn = device.Warn
	s.authorities.reportTo(device.Warn)
	for _, w := range s.warnings {
		device.Warn(w)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sensing sync.WaitGroup
	var badInput error
	sensing.Go(func() {
		if s.stdin {
			defer cancel() // the end of the readings is the end of the device
			badInput = feed(ctx, os.Stdin, &printer{to: os.Stdout}, device)
			_ = device.Drained(ctx) // or ctx has ended, and so does the device
			return
		}
		source.Run(ctx, device)
	})
	err = device.Run(ctx)
	cancel()
	sensing.Wait()
	return errors.Join(err, badInput)
}
