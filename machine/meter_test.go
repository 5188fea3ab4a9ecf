package machine_test

import (
	"context"
	"net"
	"sync"
	"time"

	"giantlizard.example/failover/transport"
)

// A meter counts what passes over a device's connections, both ways and above TCP: TLS records.
type meter struct {
	mu          sync.Mutex
	connections int
	bytes       int
	segments    int       // each write and each read, in pieces of segmentSize
	heard       time.Time // when something was read last
}

const segmentSize = 1400

func (m *meter) count(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += n
	m.segments += (n + segmentSize - 1) / segmentSize
}

// reset forgets what was counted.
func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connections, m.bytes, m.segments = 0, 0, 0
}

// total is what passed, and an estimate of it with TCP and IP: 40 bytes for each segment and for its ACK, none
// of which rides along with another segment, and for the seven that open and end a connection.
func (m *meter) total() (records, withHeaders int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes, m.bytes + 40*(2*m.segments+7*m.connections)
}

// through is dial over the meter.
func (m *meter) through(dial transport.DialFunc) transport.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.connections++
		return &metered{conn, m}, nil
	}
}

type metered struct {
	net.Conn
	meter *meter
}

func (c *metered) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.meter.count(n)
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	c.meter.heard = time.Now()
	return n, err
}

func (c *metered) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.meter.count(n)
	return n, err
}

func (m *meter) lastHeard() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard
}
