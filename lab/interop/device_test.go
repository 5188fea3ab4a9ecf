package interop_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/emulator"
)

const deviceID = "sdk1"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A device is a process that runs device.js.
type device struct {
	command *exec.Cmd
	said    lines // a happening each, as JSON
	errors  lines
	ended   chan struct{} // closed after Wait
}

// start starts the SDK's device with a cloud. The device ends with the test at the latest. Its
// output is shown if the test fails.
func start(t *testing.T, cloud *emulator.Cloud, interval time.Duration) *device {
	t.Helper()
	sdk := install(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, cloud.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &device{command: exec.Command(sdk.node, "device.js"), ended: make(chan struct{})}
	d.command.Env = []string{
		"NODE_PATH=" + sdk.modules, "NODE_EXTRA_CA_CERTS=" + ca, "FAILOVER_CA_FILE=" + ca,
		"FAILOVER_PROVISIONING_HOST=" + cloud.DPSHost(), "FAILOVER_ID_SCOPE=" + cloud.IDScope(),
		"FAILOVER_GROUP_KEY=" + cloud.GroupKey(),
		"FAILOVER_DEVICE_ID=" + deviceID, "FAILOVER_INTERVAL=" + interval.String(),
	}
	d.command.Stdout, d.command.Stderr = &d.said, &d.errors
	if err := d.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.ended)
		_ = d.command.Wait() // ProcessState says how it ended
	}()
	t.Cleanup(func() {
		_ = d.command.Process.Kill()
		<-d.ended
		if t.Failed() {
			t.Logf("the device said:\n%s%s", d.said.String(), d.errors.String())
		}
	})
	return d
}

// deviceKey returns the device's key, derived from the group's.
func deviceKey(t *testing.T, cloud *emulator.Cloud) string {
	t.Helper()
	group, err := base64.StdEncoding.DecodeString(cloud.GroupKey())
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, group)
	mac.Write([]byte(deviceID))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// stop ends the device and waits for its end.
func (d *device) stop(t *testing.T) {
	t.Helper()
	if err := d.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.ended:
	case <-time.After(time.Minute):
		t.Fatal("the device does not end at SIGTERM")
	}
}

// A happening is a line of the device's output.
type happening struct {
	T                                      time.Time
	Event, Hub, ID, Error, Name, Parameter string
}

// happenings returns the lines of an event that the device has printed so far.
func (d *device) happenings(t *testing.T, event string) (some []happening) {
	t.Helper()
	for line := range strings.Lines(d.said.String()) {
		var h happening
		if !strings.HasSuffix(line, "\n") {
			break // the rest has not been written yet
		}
		if err := json.Unmarshal([]byte(line), &h); err != nil || h.T.IsZero() || h.Event == "" {
			t.Fatalf("the device said %q: %v", line, err)
		}
		if h.Event == event {
			some = append(some, h)
		}
	}
	return some
}

// lines collects the output of a process.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
