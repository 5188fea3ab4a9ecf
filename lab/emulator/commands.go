package emulator

import (
	"context"
	"errors"
	"fmt"
)

// The reasons why a cloud-to-device message was never completed.
var (
	ErrPurged  = errors.New("emulator: the message was deleted with the device's queue")
	ErrExpired = errors.New("emulator: the message has expired")
)

// SendCommand queues a durable command, as IoT Central does: the body of the message is the unchanged
// parameter, or "@" if there is no parameter.
func (c *Cloud) SendCommand(deviceID, name string, parameter []byte) error {
	return c.queueCommand(deviceID, name, parameter, nil)
}

// InvokeCommand queues a durable command and waits until the device has completed it. If ctx ends
// first, the command stays queued.
func (c *Cloud) InvokeCommand(ctx context.Context, deviceID, name string, parameter []byte) error {
	result := make(chan error, 1)
	if err := c.queueCommand(deviceID, name, parameter, result); err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("emulator: command %s: %w", name, ctx.Err())
	case <-c.closed:
		return ErrClosed
	}
}

func (c *Cloud) queueCommand(deviceID, name string, parameter []byte, result chan<- error) error {
	if len(parameter) == 0 {
		parameter = []byte("@")
	}
	c.mu.Lock()
	c.serial++
	// The start time keeps the ID different from those of an earlier start, which a device may remember.
	id := fmt.Sprintf("command-%x-%d", c.started.Unix(), c.serial)
	c.mu.Unlock()
	m := Message{ID: id, Properties: map[string]string{"method-name": name}, Body: parameter}
	return c.queueMessage(deviceID, m, result)
}
