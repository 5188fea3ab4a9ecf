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
	cfg := newConfig()
	groups := cfg.groups()
	c := &cobra.Command{
		Use: "run", Short: "Run the sample device with DPS and IoT Hub, real or emulated",
		GroupID: "device", Args: cobra.NoArgs,
		Long: "run is the sample device: it asks DPS for its hub, sends a reading every few seconds, and stays\n" +
			"connected. While there is no hub it keeps the readings. The log goes to standard error.\n\n" +
			stdinHelp + "\n\n" + exitCodes,
		Example: "  export FAILOVER_ID_SCOPE=0ne00000000 FAILOVER_DEVICE_ID=dev1 " +
			"FAILOVER_GROUP_KEY_FILE=./group.key\n" +
			"  failover run",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := cfg.readDevice(c.Flags()); err != nil {
				cfg.printWarnings()
				return usage(err)
			}
			return runDevice(untilSignal(c.Context()), cfg)
		},
	}
	register(c, groups)
	return c
}

// runDevice runs the device, the source of its readings and the log, and waits for the end of all
// three.
func runDevice(ctx context.Context, cfg *config) error {
	d := cfg.device
	source := &sensor.Sensor{TelemetryInterval: cfg.telemetryInterval, PropertyInterval: cfg.propertyInterval}
	if d.Off.Has(hub.Telemetry) {
		source.TelemetryInterval = 0
	}
	if d.Off.Has(hub.Reported) {
		source.PropertyInterval = 0
	}
	if !cfg.stdin {
		handlers := source.Handlers()
		handlers.Timeout = d.Handlers.Timeout
		d.Handlers = handlers
	}
	print := observe.NewPrinter(&printer{to: os.Stderr}, cfg.logFormat == "json", observe.Level(cfg.logLevel))
	log := observe.NewFan(observe.Thin(print))
	log.Start()
	defer closeLog(log) // after the device has ended, which does not wait for the reader of the log
	d.Observers, d.NoDebug = []func(machine.Record){log.Emit}, cfg.logLevel != "debug"
	device, err := machine.New(d)
	if err != nil {
		return err // no usage error, because the settings were checked
	}
	source.Warn = device.Warn
	cfg.authorities.reportTo(device.Warn)
	for _, w := range cfg.warnings {
		device.Warn(w)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sensing sync.WaitGroup
	var badInput error
	sensing.Go(func() {
		if cfg.stdin {
			defer cancel() // ends the device after the last reading
			badInput = feed(ctx, os.Stdin, &printer{to: os.Stdout}, device)
			_ = device.Drained(ctx) // an error means that the device ends, or has ended
			return
		}
		source.Run(ctx, device)
	})
	err = device.Run(ctx)
	cancel()
	sensing.Wait()
	return errors.Join(err, badInput)
}
