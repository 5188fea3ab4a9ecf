package drill

import (
	"context"
	"crypto/x509"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A Place holds what a client is told: the address of the cloud, its identity there, and how often to
// take a reading.
type Place struct {
	ProvisioningHost  string // host:port, or only the host if the client cannot use another port
	IDScope, DeviceID string
	DeviceKey         string              // the device's key in base64
	CAFile            string              // path of a file with the certificate authority in PEM
	More              []emulator.Variable // other forms of the same, and connection strings, for the clients of others
	RootCAs           *x509.CertPool
	StateDir          string // the client's directory for data that must outlive a restart
	Interval          time.Duration
}

// Environment returns the place as environment variables. Microsoft's samples use the names that
// begin with IOTHUB. docs/drill.md lists all.
func (p Place) Environment() []string {
	all := []string{
		"FAILOVER_PROVISIONING_HOST=" + p.ProvisioningHost, "FAILOVER_ID_SCOPE=" + p.IDScope,
		"FAILOVER_DEVICE_ID=" + p.DeviceID, "FAILOVER_DEVICE_KEY=" + p.DeviceKey, "FAILOVER_CA_FILE=" + p.CAFile,
		"FAILOVER_STATE_DIR=" + p.StateDir, "FAILOVER_TELEMETRY_INTERVAL=" + p.Interval.String(),
		"IOTHUB_DEVICE_SECURITY_TYPE=DPS", "IOTHUB_DEVICE_DPS_ENDPOINT=" + p.ProvisioningHost,
		"IOTHUB_DEVICE_DPS_ID_SCOPE=" + p.IDScope, "IOTHUB_DEVICE_DPS_DEVICE_ID=" + p.DeviceID,
		"IOTHUB_DEVICE_DPS_DEVICE_KEY=" + p.DeviceKey,
		"NODE_EXTRA_CA_CERTS=" + p.CAFile, "SSL_CERT_FILE=" + p.CAFile,
	}
	for _, v := range p.More {
		all = append(all, v.Name+"="+v.Value)
	}
	return all
}

// A Client is a program that a drill runs in scenarios.
type Client interface {
	// Start starts the client. All its goroutines and processes must have ended when Running.Stop
	// returns.
	Start(Place) (Running, error)
}

// A Running is a client that was started.
type Running interface {
	// Ended is closed when the client has ended by itself or because of Stop.
	Ended() <-chan struct{}
	// Stop tells the client to end, kills it when ctx ends, and returns the resources that
	// it has used.
	Stop(ctx context.Context) Usage
}
