//go:build !nolab

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"giantlizard.example/failover/lab/emulator"
)

func TestAnAnswerDelayOfZeroMeansNoDelay(t *testing.T) {
	for args, want := range map[string]time.Duration{
		"": emulator.DefaultAnswerDelay, "--answer-delay=0": emulator.NoAnswerDelay, "--answer-delay=1s": time.Second,
	} {
		var o emulatorOptions
		flags := pflag.NewFlagSet("emulator", pflag.ContinueOnError)
		o.register(flags)
		if err := flags.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if o.complete(); o.config.AnswerDelay != want {
			t.Errorf("%q gives %v, want %v", args, o.config.AnswerDelay, want)
		}
	}
}
