package machine

import (
	"context"
	"os/exec"
	"testing"
	"time"
)

func TestTheSystemReportsANewAddress(t *testing.T) {
	ip := func(verb string) error {
		return exec.Command("ip", "address", verb, "127.77.7.7/32", "dev", "lo").Run()
	}
	_ = ip("del") // of a run that was killed
	ctx, cancel := context.WithCancel(t.Context())
	added, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- watchNetwork(ctx, func() { added <- struct{}{} }) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for range 50 { // the watch may begin after the first address was added
		if err := ip("add"); err != nil {
			t.Skip("this process may not add an address: ", err)
		}
		select {
		case <-added:
			_ = ip("del")
			return
		case <-time.After(100 * time.Millisecond):
			_ = ip("del")
		}
	}
	t.Error("a new address was not reported")
}
