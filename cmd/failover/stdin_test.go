//go:build unix

package main_test

import (
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

// piped starts a device that reads its readings from the returned pipe.
func piped(t *testing.T, cloud *emulator.Cloud) (*process, io.WriteCloser) {
	t.Helper()
	c := command(t, deviceEnv(t, cloud), "run", "--stdin")
	in, out, err := os.Pipe()
	must(t, err)
	c.Stdin = in
	p := start(t, c)
	in.Close()
	t.Cleanup(func() { out.Close() })
	return p, out
}

type said struct {
	ID, Error string
	Line      int
}

// answers returns the lines of standard output.
func answers(t *testing.T, p *process) (all []said) {
	t.Helper()
	for line := range strings.Lines(p.stdout.String()) {
		var a said
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		all = append(all, a)
	}
	return all
}

// The device would refuse each line, and would never send what is pending.
func TestStandardInputWithoutTelemetryIsRefused(t *testing.T) {
	wantRefused(t, append(complete[:3:3], "FAILOVER_NO_TELEMETRY=true"), []string{"--stdin"},
		"FAILOVER_STDIN (--stdin) sends readings, and FAILOVER_NO_TELEMETRY (--no-telemetry) disables them")
}

func TestReadingsFromStandardInputAreAnsweredWithIDsAndDelivered(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p, in := piped(t, cloud)
	_, err := io.WriteString(in, `{"temp":21.5}`+"\r\n\n"+
		`{"body":{"temp":22},"time":"2026-01-02T03:04:05.678Z","properties":{"line":"4 & more"},`+
		`"component":"oven"}`+"\n"+
		`{"body":1,"more":2}`+"\n"+`{"last":true}`) // which needs no end of line
	must(t, err, in.Close())
	p.wantExit(0)
	got := answers(t, p)
	if len(got) != 5 || got[1] != (said{Line: 2, Error: "the line is empty"}) {
		t.Fatalf("four readings and an empty line were answered with\n%s", &p.stdout)
	}
	got = slices.Delete(got, 1, 2)
	ledger := cloud.Ledger()
	want := []string{`{"temp":21.5}`, `{"temp":22}`, `{"body":1,"more":2}`, `{"last":true}`}
	for i, a := range got {
		at := slices.IndexFunc(ledger, func(d emulator.Delivery) bool { return d.MessageID == a.ID })
		if at < 0 || string(ledger[at].Body) != want[i] {
			t.Errorf("%+v was not delivered as %s", a, want[i])
			continue
		}
		if d := ledger[at]; i == 1 && (d.Properties["line"] != "4 & more" || d.Properties["$.sub"] != "oven" ||
			d.Properties["iothub-creation-time-utc"] != "2026-01-02T03:04:05.678Z") {
			t.Errorf("the envelope's properties came as %v", d.Properties)
		}
	}
	if len(ledger) != 4 {
		t.Errorf("%d readings were delivered", len(ledger))
	}
}

func TestInvalidLineIsAnsweredWithAnErrorAndTheNextIsAccepted(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p, in := piped(t, cloud)
	bad := []string{
		`not JSON`, `{"body":1,"time":"yesterday"}`, `{"body":1,"time":"0001-01-01T00:00:00Z"}`,
		`{"body":1,"properties":{"a":1}}`, `{"body":1,"properties":{"$.mid":"x"}}`,
		"\xff\xfe", `{"a":"` + strings.Repeat("x", 300_000) + `"}`, strings.Repeat("y",
			3<<20), `{"body":1,"component":"a` + "\x00" + `"}`,
		`{"body":1,"properties":{"a":"` + "\xff" + `"}}`, `{"body":1,"component":"` + "\xff" + `"}`,
	}
	_, err := io.WriteString(in, strings.Join(bad, "\n")+"\n\"good\"\n")
	must(t, err, in.Close())
	p.wantExit(0)
	got := answers(t, p)
	if len(got) != len(bad)+1 {
		t.Fatalf("%d lines were answered with\n%s", len(bad)+1, &p.stdout)
	}
	for i, a := range got[:len(bad)] {
		if a.ID != "" || a.Error == "" || a.Line != i+1 {
			t.Errorf("%.40q was answered with %+v", bad[i], a)
		}
	}
	if l := cloud.Ledger(); len(l) != 1 || string(l[0].Body) != `"good"` || l[0].MessageID != got[len(bad)].ID {
		t.Errorf("delivered: %v", l)
	}
}

func TestBlankLineIsAnsweredWithAnError(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	c := command(t, deviceEnv(t, cloud), "run", "--stdin")
	c.Stdin = strings.NewReader("\n1\n \t\r\n2\n  ") // the last line has no end
	p := start(t, c)
	p.wantExit(0)
	got := answers(t, p)
	if len(got) != 5 || got[1].ID == "" || got[3].ID == "" {
		t.Fatalf("five lines were answered with\n%s", &p.stdout)
	}
	for _, n := range []int{1, 3, 5} {
		if got[n-1] != (said{Line: n, Error: "the line is empty"}) {
			t.Errorf("line %d was answered with %+v", n, got[n-1])
		}
	}
}

func TestLineThatWouldBeChangedIsRefused(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	p, in := piped(t, cloud)
	bad := map[string]string{
		`{"body":1,"body":2}`: `"body" stands twice`, `{"body":1,"\u0062ody":2}`: `stands twice`,
		`{"body":1,"time":"2026-01-02T03:04:05Z","time":"2026-01-02T03:04:06Z"}`: `"time" stands twice`,
		`{"body":1,"properties":{"a":"1","a":"2"}}`:                              `"a" stands twice`,
		`{"body":1,"properties":{"a\ud800":"1","a\udc00":"2"}}`:                  `half of a surrogate pair`,
		`{"body":1,"properties":{"a":"\ud800"}}`:                                 `half of a surrogate pair`,
		`{"body":1,"component":"\udc00"}`:                                        `half of a surrogate pair`,
		`{"body":1,"properties":{"a":null}}`:                                     `"a" is null`,
		`{"body":1,"properties":{"a":1}}`:                                        `"a" is not a string: 1`,
		`{"body":1,"properties":["a"]}`:                                          `properties: not a JSON object`,
		`{"body":1,"component":7}`:                                               `"component" is not a string: 7`,
		`{"body":1,"time":7}`:                                                    `"time" is not a string: 7`,
	}
	lines := slices.Sorted(maps.Keys(bad))
	_, err := io.WriteString(in, strings.Join(lines, "\n"))
	must(t, err, in.Close())
	p.wantExit(0)
	got := answers(t, p)
	if len(got) != len(lines) {
		t.Fatalf("%d lines were answered with\n%s", len(lines), &p.stdout)
	}
	for i, a := range got {
		if a.ID != "" || !strings.Contains(a.Error, bad[lines[i]]) {
			t.Errorf("%s was answered with %+v, not with %q", lines[i], a, bad[lines[i]])
		}
	}
}

func TestBodyIsDeliveredByteForByte(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p, in := piped(t, cloud)
	bodies := []string{
		`{"n":12345678901234567890.10,"n":1E400}`, `{"a\ud800":"<&>","a\udc00":"\u0041"}`, `{"Body":1}`,
		`{"body":1,"Body":2}`,
		`{"body":1,"x":2,"x":3}`, `null`, `[ 9007199254740993 ]`, `{"Body":1,"properties":{"a":"b"}}`,
	}
	lines := slices.Clone(bodies)
	for _, body := range []string{`{"body":1, "body":9007199254740993}`, `"\ud800"`, `null`} {
		lines = append(lines, `{"properties":null,"time":null,"component":null,"body": `+body+` }`)
		bodies = append(bodies, body)
	}
	_, err := io.WriteString(in, strings.Join(lines, "\n"))
	must(t, err, in.Close())
	p.wantExit(0)
	ledger := cloud.Ledger()
	for i, a := range answers(t, p) {
		at := slices.IndexFunc(ledger, func(d emulator.Delivery) bool { return d.MessageID == a.ID })
		if at < 0 || string(ledger[at].Body) != bodies[i] {
			t.Errorf("%s was answered with %+v, and not delivered as %s", lines[i], a, bodies[i])
		}
	}
	if len(ledger) != len(lines) {
		t.Errorf("%d of %d were delivered", len(ledger), len(lines))
	}
}

// The queue has room for three readings and there is no hub. The fourth line is answered when there
// is a hub.
func TestBlockingQueueDelaysStandardInput(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	must(t, cloud.StopDPS())
	env := append(deviceEnv(t, cloud), "FAILOVER_QUEUE_READINGS=3", "FAILOVER_QUEUE_FULL=block",
		"FAILOVER_LAST_WAIT=100ms")
	c := command(t, env, "run", "--stdin")
	c.Stdin = strings.NewReader("1\n2\n3\n4\n5\n")
	p := start(t, c)
	p.stdout.await(p, 0, "-3\"}\n")
	at := p.awaitAfter(0, "next: reprovision")
	for range 3 {
		at = p.awaitAfter(at, "next: reprovision") // time goes by
	}
	if n := len(answers(t, p)); n != 3 {
		t.Errorf("%d lines are answered, and three readings fit", n)
	}
	must(t, cloud.StartDPS())
	p.wantExit(0)
	if n := len(cloud.Ledger()); n != 5 || len(answers(t, p)) != 5 {
		t.Errorf("%d of 5 were delivered, and answered with\n%s", n, &p.stdout)
	}
}

func TestSignalEndsTheDeviceWhileStandardInputIsOpen(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p, in := piped(t, cloud)
	_, err := io.WriteString(in, "1\n")
	must(t, err)
	waitReadings(t, cloud, "A", 1)
	p.terminate(0)
}

// With --stdin the device has no handlers of the sample, because it may have no fan.
func TestDeviceWithStdinHasNoHandlersOfTheSample(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	p, in := piped(t, cloud)
	_, err := io.WriteString(in, "1\n")
	must(t, err)
	waitReadings(t, cloud, "A", 1)
	status, _, err := cloud.InvokeMethod(t.Context(), "dev1", "echo", nil)
	if err != nil || status != 404 {
		t.Errorf("echo was answered with %d, %v", status, err)
	}
	p.terminate(0)
}
