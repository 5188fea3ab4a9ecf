package emulator_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A command is a call of InvokeCommand.
type command struct {
	over bool
	took time.Duration
	err  error
}

// invoke calls InvokeCommand in a goroutine. Use the result only after synctest.Wait.
func (w world) invoke(ctx context.Context) *command {
	c, begin := new(command), time.Now()
	go func() {
		c.err = w.InvokeCommand(ctx, device, "setAlarm", []byte(`"08:30:00Z"`))
		c.over, c.took = true, time.Since(begin)
	}()
	return c
}

func TestInvokeCommandWaitsUntilTheDeviceHasCompletedTheCommand(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustConnect(login{hub: "A"}).close()
		c := w.invoke(t.Context())
		time.Sleep(20 * time.Second)
		if c.over {
			t.Fatalf("it was over while the device was away: %v", c.err)
		}
		p := w.mustConnect(login{hub: "A"})
		p.mustSubscribe(bound + "#")
		synctest.Wait()
		if !c.over || c.err != nil || c.took.Round(time.Second) != 20*time.Second {
			t.Errorf("%+v", c)
		}
	})
}

func TestInvokeCommandReturnsWhyACommandWasNotCompleted(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(t *testing.T, w world)
		want    error
	}{
		"a clean session": {
			func(_ *testing.T, w world) { w.mustConnect(login{hub: "A", clean: true}) }, emulator.ErrPurged,
		},
		"it expires": {func(_ *testing.T, w world) {
			time.Sleep(2 * time.Hour)
			w.mustConnect(login{hub: "A"}).mustSubscribe(bound + "#")
		}, emulator.ErrExpired},
		"the cloud closes": {func(_ *testing.T, w world) { w.Close() }, emulator.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				w.mustConnect(login{hub: "A"}).close()
				command := w.invoke(t.Context())
				synctest.Wait()
				c.happens(t, w)
				synctest.Wait()
				if !command.over || !errors.Is(command.err, c.want) {
					t.Errorf("%+v, want %v", command, c.want)
				}
			})
		})
	}
}

func TestInvokeCommandEndsWithItsContext(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		if err := w.InvokeCommand(t.Context(), device, "setAlarm", nil); !errors.Is(err, emulator.ErrUnknownDevice) {
			t.Errorf("a device that nobody knows: %v", err)
		}
		w.mustConnect(login{hub: "A"}).close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.InvokeCommand(ctx, device, "setAlarm", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if n := w.QueueLength(device); n != 1 {
			t.Errorf("%d messages are pending", n)
		}
	})
}
