package emulator

import (
	"context"
	"errors"
	"fmt"
)

// Why a cloud-to-device message was never completed.
var (
	ErrPurged  = errors.New("emulator: the message was deleted with the device's queue")
	ErrExpired = errors.New("emulator: the message has expired")
)

// SendCommand queues a durable command, as IoT Central does: its parameter is raw, and "@" if there is none.
func (c *Cloud) SendCommand(deviceID, name string, parameter []byte) error {
	return c.queueCommand(deviceID, name, parameter, nil)
}

// InvokeCommand queues a durable command and waits until the device has completed it. The end of ctx ends the waiting only.
func (c *Cloud) InvokeCommand(ctx context.Context, deviceID, name string, parameter []byte) error {
	over := make(chan error, 1)
	if err := c.queueCommand(deviceID, name, parameter, over); err != nil {
		return err
	}
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		return fmt.Errorf("emulator: command %s: %w", name, ctx.Err())
	case <-c.closed:
		return ErrClosed
	}
}

func (c *Cloud) queueCommand(deviceID, name string, parameter []byte, over chan error) error {
	if len(parameter) == 0 {
		parameter = []byte("@")
	}
	c.mu.Lock()
	c.serial++
	id := fmt.Sprintf("command-%x-%d", c.started.Unix(), c.serial) // a device remembers the IDs of an earlier start
	c.mu.Unlock()
	return c.queueMessage(deviceID, Message{ID: id, Properties: map[string]string{"method-name": name}, Body: parameter}, over)
}
