package machine_test

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/transport"
)

// cloudVariable turns the tests' binary into a process that is a cloud and nothing else.
const cloudVariable = "FAILOVER_TEST_CLOUD"

func TestMain(m *testing.M) {
	if os.Getenv(cloudVariable) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := serveCloud(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveCloud sends the device garbage from hub A for each line that comes, which ends its session, and reports
// when no more will.
func serveCloud(in io.Reader, out io.Writer) error {
	cloud, err := emulator.Start(emulator.Config{RetryAfter: time.Second})
	if err != nil {
		return err
	}
	defer cloud.Close()
	if err := cloud.Assign("bare", "A"); err != nil {
		return err
	}
	tell := json.NewEncoder(out)
	if err := tell.Encode(cloudOffer{cloud.DPSHost(), cloud.Hub("A"), cloud.IDScope(), cloud.GroupKey(),
		cloud.CAPEM()}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := cloud.Inject("A", emulator.Garbage, emulator.Params{Count: 1}); err != nil {
			return err
		}
	}
	report := cloudReport{Violations: cloud.Violations()}
	for _, d := range cloud.Ledger() {
		report.Delivered = append(report.Delivered, d.MessageID)
	}
	return tell.Encode(report)
}

type cloudOffer struct {
	DPSHost, Hub, IDScope, GroupKey string
	CA                              []byte
}

type cloudReport struct {
	Delivered, Violations []string
}

// A childCloud is a cloud in a process of its own.
type childCloud struct {
	cloudOffer
	t   testing.TB
	in  io.WriteCloser
	out *json.Decoder
}

func startCloud(t testing.TB) *childCloud {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env, c.Stderr = append(os.Environ(), cloudVariable+"=1"), os.Stderr
	in, bad := c.StdinPipe()
	out, err := c.StdoutPipe()
	if bad != nil || err != nil {
		t.Fatal(bad, err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	cloud := &childCloud{t: t, in: in, out: json.NewDecoder(out)}
	if err := cloud.out.Decode(&cloud.cloudOffer); err != nil {
		t.Fatal(err)
	}
	return cloud
}

func (c *childCloud) key() (transport.Key, error) { return c.keyOf(deviceID) }

func (c *childCloud) keyOf(id string) (transport.Key, error) {
	key, err := transport.ParseKey(c.GroupKey)
	return key.Derive(id), err
}

func (c *childCloud) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.CA)
	return pool
}

// cut ends the session, in a way for which no reading can be to blame.
func (c *childCloud) cut() {
	c.t.Helper()
	if _, err := c.in.Write([]byte("\n")); err != nil {
		c.t.Fatal(err)
	}
}

// wantAll ends the cloud and wants the readings 1 to n in its ledger, of one epoch.
func (c *childCloud) wantAll(n int) {
	c.t.Helper()
	var report cloudReport
	if err := c.in.Close(); err != nil {
		c.t.Error(err)
	}
	if err := c.out.Decode(&report); err != nil {
		c.t.Fatal(err)
	}
	got := map[string]bool{}
	for _, id := range report.Delivered {
		got[id] = true
	}
	epoch, _, _ := strings.Cut(report.Delivered[0], "-")
	for i := range n {
		if id := fmt.Sprintf("%s-%d", epoch, i+1); !got[id] {
			c.t.Errorf("%s was taken and not delivered", id)
		}
	}
	if len(got) != n || len(report.Violations) > 0 {
		c.t.Errorf("%d readings were taken and %d delivered; the device broke the hub's rules: %q", n, len(got),
			report.Violations)
	}
}
