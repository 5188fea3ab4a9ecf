package drill

import (
	"context"
	"crypto/x509"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

// A Place is all that a client is told: where the cloud is, who the client is there, and how often to take a reading.
type Place struct {
	ProvisioningHost  string // host:port, or a host alone where the client cannot be told a port
	IDScope, DeviceID string
	DeviceKey         string // base64
	CAFile            string // PEM
	RootCAs           *x509.CertPool
	StateDir          string // for what must outlive a restart
	Interval          time.Duration
}

// Environment is the place as a client command finds it. Microsoft's samples know the names that begin with IOTHUB.
func (p Place) Environment() []string {
	return []string{
		"FAILOVER_PROVISIONING_HOST=" + p.ProvisioningHost, "FAILOVER_ID_SCOPE=" + p.IDScope, "FAILOVER_DEVICE_ID=" + p.DeviceID,
		"FAILOVER_DEVICE_KEY=" + p.DeviceKey, "FAILOVER_CA_FILE=" + p.CAFile, "FAILOVER_STATE_DIR=" + p.StateDir,
		"FAILOVER_TELEMETRY_INTERVAL=" + p.Interval.String(),
		"IOTHUB_DEVICE_SECURITY_TYPE=DPS", "IOTHUB_DEVICE_DPS_ENDPOINT=" + p.ProvisioningHost, "IOTHUB_DEVICE_DPS_ID_SCOPE=" + p.IDScope,
		"IOTHUB_DEVICE_DPS_DEVICE_ID=" + p.DeviceID, "IOTHUB_DEVICE_DPS_DEVICE_KEY=" + p.DeviceKey,
		"NODE_EXTRA_CA_CERTS=" + p.CAFile, "SSL_CERT_FILE=" + p.CAFile,
	}
}

// A Client is what is put through scenarios.
type Client interface {
	// Start starts it at a place. Nothing of it is left when the Running's Stop has returned.
	Start(Place) (Running, error)
}

// A Running is a client at work.
type Running interface {
	// Ended is closed when the client has ended, by itself or because of Stop.
	Ended() <-chan struct{}
	// Stop tells it to end, makes it end when ctx does, and says what it has cost.
	Stop(ctx context.Context) Usage
}

// deviceKey enrolls a device and returns its key.
func deviceKey(cloud *emulator.Cloud, deviceID string) (string, error) {
	if err := cloud.Enroll(deviceID, ""); err != nil {
		return "", err
	}
	return cloud.DeviceKey(deviceID)
}
