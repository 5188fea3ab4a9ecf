package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A stranger has a module of his own, and only a replace line joins it to ours.
func TestAStrangersModuleAddsAStateThatKeepsTheSession(t *testing.T) {
	slow.Test(t)
	program := buildAsAStranger(t)
	cloud := emulator.ForTest(t, emulator.Config{RetryAfter: time.Second})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, cloud.CAPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program)
	c.Env = []string{
		"FAILOVER_PROVISIONING_HOST=" + cloud.DPSHost(), "FAILOVER_ID_SCOPE=" + cloud.IDScope(),
		"FAILOVER_DEVICE_ID=dev1",
		"FAILOVER_GROUP_KEY=" + cloud.GroupKey(), "FAILOVER_CA_FILE=" + ca,
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }() // when the test gives up
	lines := bufio.NewScanner(out)
	await := func(text string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				return
			}
		}
		t.Fatalf("the program ended before %q", text)
	}
	await("Connecting -> Connected")
	if err := cloud.Wait(ctx, func() bool { return len(cloud.Subscriptions("dev1", "A")) > 0 }); err != nil {
		t.Fatal(err)
	}
	status, _, err := cloud.InvokeMethod(ctx, "dev1", "update", nil)
	if err != nil || status != 202 {
		t.Errorf("update: status %d, %v", status, err)
	}
	await("Connected -> Updating")
	await("Updating -> Connected")
	_, reported, _, _ := cloud.Twin("dev1")
	if got := fmt.Sprint(reported["update"]); got != "map[percent:100]" {
		t.Errorf("reported %s", got)
	}
	if n := cloud.Connects("dev1", "A"); n != 1 {
		t.Errorf("the device connected %d times: the session was not kept", n)
	}
	status, _, err = cloud.InvokeMethod(ctx, "dev1", "other", nil)
	if err != nil || status != 404 {
		t.Errorf("after the update the device does not answer: %d, %v", status, err)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	await("-> Closing")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func buildAsAStranger(t *testing.T) string {
	t.Helper()
	ours, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(ours, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"main.go": string(source),
		"go.sum":  string(sums),
		"go.mod": "module stranger.example/device\n\ngo 1.26\n\nrequire giantlizard.example/failover v0.0.0\n\n" +
			"replace giantlizard.example/failover => " + ours + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "device")
	c := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", program, ".")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}
