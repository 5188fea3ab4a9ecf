package drill

import (
	"errors"
	"os"
	"path/filepath"

	"giantlizard.example/failover/lab/emulator"
)

// place creates the device at its hub, so that a client may also connect without DPS, and writes the
// files that the client reads.
func (t *trial) place(dir string) (Place, error) {
	key, err := deviceKey(t.cloud, t.DeviceID)
	if err != nil {
		return Place{}, err
	}
	if _, _, err := t.cloud.CreateDevice(t.DeviceID, ""); err != nil {
		return Place{}, err
	}
	connections, err := t.cloud.DeviceVariables(t.DeviceID)
	if err != nil {
		return Place{}, err
	}
	p := Place{
		ProvisioningHost: t.cloud.DPSName(), IDScope: t.cloud.IDScope(), DeviceID: t.DeviceID, DeviceKey: key,
		CAFile: filepath.Join(dir, "ca.pem"), RootCAs: t.cloud.CAPool(), StateDir: filepath.Join(dir, "state"),
		Interval: t.Interval,
	}
	trustStoreFile := filepath.Join(dir, "ca.p12")
	p.More = append(t.cloud.Variables(trustStoreFile), connections...)
	trustStore, err := t.cloud.TrustStore()
	return p, errors.Join(err, os.WriteFile(p.CAFile, t.cloud.CAPEM(), 0o600),
		os.WriteFile(trustStoreFile, trustStore, 0o600))
}

// deviceKey enrolls a device and returns its key.
func deviceKey(cloud *emulator.Cloud, deviceID string) (string, error) {
	if err := cloud.Enroll(deviceID, ""); err != nil {
		return "", err
	}
	return cloud.DeviceKey(deviceID)
}
