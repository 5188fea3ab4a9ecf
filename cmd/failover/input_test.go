//go:build unix

package main_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

const mark = "\ufeff" // the byte-order mark of UTF-8

// inUTF16 returns a text in UTF-16, as Windows' editors and PowerShell write it.
func inUTF16(text string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

// Each file of the device begins with a byte-order mark, as Windows' editors write them.
func TestByteOrderMarkIsIgnoredInEachFileOfTheDevice(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	must(t, cloud.Enroll("dev1", oldKey))
	env := file(t, "my.env", mark+"FAILOVER_ID_SCOPE="+cloud.IDScope()+"\nFAILOVER_DEVICE_ID=dev1\n")
	c := command(t, []string{"FAILOVER_PROVISIONING_HOST=" + cloud.DPSHost()}, "run", "--stdin", "--env-file", env,
		"--state-dir=st",
		"--device-key-file", file(t, "device.key", mark+oldKey+"\r\n"), "--ca-file", file(t, "ca.pem",
			mark+string(cloud.CAPEM())))
	c.Stdin = strings.NewReader(mark + `{"body":{"temp":1}}` + "\n2\n")
	p := start(t, c)
	p.wantExit(0)
	if l := cloud.Ledger(); len(l) != 2 || string(l[0].Body) != `{"temp":1}` {
		t.Errorf("delivered: %v; it says\n%s%s", l, &p.stdout, &p.stderr)
	}
	state := "--state-dir=" + filepath.Join(c.Dir, "st")
	ledger := mark + readFile(t, ledgerFile(t, cloud))
	for _, from := range []string{"-", file(t, "ledger", ledger)} {
		l := command(t, nil, "ledger", from, state)
		l.Stdin = strings.NewReader(ledger)
		p := start(t, l)
		p.wantExit(0)
		if !strings.Contains(p.stdout.String(), "delivered                    2\n") {
			t.Errorf("ledger %s: %s%s", from, &p.stdout, &p.stderr)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	return string(text)
}

const (
	shortDay  = "at 10ms kill A for 10ms\nend 1s\n"
	logRecord = `{"level":"info","time":"2026-01-02T03:04:05Z","kind":"transition","device":"dev1",` +
		`"from":"Unprovisioned","to":"Provisioning","event":"register"}` + "\n"
)

func TestByteOrderMarkIsIgnoredInEachFileOfTheTools(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	if code, stdout, _ := run(t, nil, "trace", file(t, "log", mark+logRecord)); code != 0 ||
		!strings.Contains(stdout, "-> Provisioning") {
		t.Errorf("trace: exit code %d\n%s", code, stdout)
	}
	c := command(t, nil, "trace")
	c.Stdin = strings.NewReader(mark + logRecord)
	if p := start(t, c); p.exit() != 0 || !strings.Contains(p.stdout.String(), "-> Provisioning") {
		t.Errorf("trace of standard input: %s%s", &p.stdout, &p.stderr)
	}
	if code, stdout, stderr := run(t, nil, "scenario", "check", file(t, "day.txt", mark+shortDay)); code != 0 {
		t.Errorf("scenario check: exit code %d, %s%s", code, stdout, stderr)
	}
	s := newControlStub(t)
	env := s.controlFile(t)
	content := file(t, "content.json", mark+`{"request":1}`)
	token := file(t, "token", mark+apiToken)
	for _, args := range [][]string{
		{"command", "run", "-d", "dev1", "--cn", "x", "-k", "@" + content},
		{"show", "-d", "dev1", "-n", "127", "--central-dns-suffix", "0.0.1:" + s.port(), "--token-file", token},
	} {
		if code, stdout, stderr := run(t, env, append([]string{"central", "device"}, args...)...); code == 2 {
			t.Errorf("%q: exit code %d, %s%s", args, code, stdout, stderr)
		}
	}
	name := strings.TrimPrefix(env[len(env)-1], "FAILOVER_CONTROL_FILE=")
	must(t, os.WriteFile(name, []byte(mark+readFile(t, name)), 0o600))
	if code, stdout, stderr := run(t, env, "lizard", "list"); code != 0 {
		t.Errorf("lizard list: exit code %d, %s%s", code, stdout, stderr)
	}
}

// readers has all commands that read a file, with %s for its name.
var readers = []struct {
	args string
	code int
}{
	{"run --env-file %s", 2}, {"run --ca-file %s", 2}, {"run --group-key-file %s", 2}, {"run --device-key-file %s", 2},
	{"outbox list --state-dir x --env-file %s", 2},
	{"scenario check %s", 1}, {"scenario show %s", 1}, {"drill --scenario %s", 2}, {"trace %s",
		1}, {"ledger --state-dir %[2]s %[1]s", 1},
	{"central device show -d dev1 -n a --token-file %s", 2}, {"central device show -d dev1 -n a --ca-file %s", 2},
	{"central device command run -d dev1 --cn x -k @%s", 2}, {"lizard list", 1},
}

// wantFileRefused gives each command a file that it must refuse, and wants the name of the file and
// a reason.
func wantFileRefused(t *testing.T, name, reason string) {
	t.Helper()
	state := stateDirectory(t)
	for _, r := range readers {
		var args []string
		for _, a := range strings.Fields(r.args) {
			args = append(args, strings.NewReplacer("%s", name, "%[1]s", name, "%[2]s", state).Replace(a))
		}
		if args[0] == "outbox" { // which has no flag for it
			args = args[:4]
		}
		env := append(complete[:2:2], "FAILOVER_CENTRAL_TOKEN="+apiToken)
		switch {
		case args[0] == "lizard":
			env = append(env, "FAILOVER_CONTROL_FILE="+name)
		case args[0] == "outbox":
			env = append(env, "FAILOVER_ENV_FILE="+name)
		case args[0] == "run" && !strings.Contains(r.args, "key-file"):
			env = append(env, complete[2])
		}
		code, stdout, stderr := run(t, env, args...)
		if code != r.code || stdout != "" && args[0] != "trace" || !strings.Contains(stderr, reason) ||
			!strings.Contains(stderr, name) {
			t.Errorf("%q: exit code %d, want %d; stdout %q, stderr %q", args, code, r.code, stdout, stderr)
		}
	}
}

// stateDirectory returns a state directory with readings.
func stateDirectory(t *testing.T) string {
	t.Helper()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	c := command(t, env, "run", "--stdin")
	c.Stdin = strings.NewReader("1\n")
	start(t, c).wantExit(0)
	return strings.TrimPrefix(stateOf(env), "--state-dir=")
}

func TestUTF16FileIsRefusedWithTheReason(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	wantFileRefused(t, file(t, "file", inUTF16("{\"a\":1}\n")), "it is UTF-16: save it as UTF-8")
}

func TestFileThatIsNotRegularIsRefusedAtOnce(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	wantFileRefused(t, pipe, "no regular file: it is a named pipe")
	wantFileRefused(t, "/dev/zero", "no regular file: it is a device")
	wantFileRefused(t, t.TempDir(), "no regular file: it is a directory")
}

func TestTooLargeFileIsRefused(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	large := file(t, "large", "")
	must(t, os.Truncate(large, 1<<40))
	for _, r := range readers {
		if r.args = strings.ReplaceAll(r.args, "%s", large); strings.HasPrefix(r.args, "trace") ||
			!strings.Contains(r.args, large) || strings.HasPrefix(r.args, "outbox") {
			continue // trace reads line by line
		}
		code, _, stderr := run(t, append(complete[:2:2], "FAILOVER_CENTRAL_TOKEN="+apiToken), strings.Fields(r.args)...)
		if code != r.code || !strings.Contains(stderr, large+" is larger than ") {
			t.Errorf("%s: exit code %d, %s", r.args, code, stderr)
		}
	}
}

func TestFirstAnswerReportsUTF16OnStandardInput(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	c := command(t, deviceEnv(t, cloud), "run", "--stdin")
	c.Stdin = strings.NewReader(inUTF16("1\n2\n") + "\n3\n")
	p := start(t, c)
	p.wantExit(0)
	got := answers(t, p)
	if len(got) < 3 || !strings.Contains(got[0].Error, "it is UTF-16: save it as UTF-8") || got[1].Error == "" ||
		got[len(got)-1].ID == "" {
		t.Errorf("it was answered with\n%s", &p.stdout)
	}
}

// The key comes from a pipe, as with <(pass show key) in bash. The device needs it again for the
// second hub.
func TestKeyFromAShellPipeIsReadOnce(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	c := command(t, append(withoutKey(deviceEnv(t, cloud)), "FAILOVER_HUB_WAIT=10ms", "FAILOVER_DPS_WAIT=10ms"), "run",
		"--group-key-file",
		"/dev/fd/3")
	in, out, err := os.Pipe()
	must(t, err)
	defer in.Close()
	_, err = io.WriteString(out, cloud.GroupKey()+"\n")
	must(t, err, out.Close())
	c.ExtraFiles = []*os.File{in}
	p := start(t, c)
	waitReadings(t, cloud, "A", 1)
	must(t, cloud.KillHub("A", emulator.RST, emulator.WithMove))
	waitReadings(t, cloud, "B", 1)
	p.terminate(0)
}

// As with --env-file <(sops -d device.env) and --ca-file <(cat a.pem b.pem).
func TestEnvFileAndCAFileMayBeShellPipes(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	cloud := newCloud(t)
	env := deviceEnv(t, cloud)
	c := command(t, nil, "run", "--env-file", "/dev/fd/3", "--ca-file", "/dev/fd/4")
	for _, text := range []string{strings.Join(env, "\n"), string(cloud.CAPEM())} {
		in, out, err := os.Pipe()
		must(t, err)
		defer in.Close()
		_, err = io.WriteString(out, text)
		must(t, err, out.Close())
		c.ExtraFiles = append(c.ExtraFiles, in)
	}
	p := start(t, c)
	p.await("-> Connected")
	p.terminate(0)
}

func TestUnreadableCertificateInABundleStopsTheDevice(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	good := string(cloud.CAPEM())
	bad := file(t, "ca.pem", good+strings.Replace(good, "\nM", "\n!", 1))
	wantRefused(t, append(complete[:3:3], "FAILOVER_CA_FILE="+bad), nil,
		"FAILOVER_CA_FILE (--ca-file): "+bad+": certificate 2 (line ")
	code, _, stderr := run(t, []string{"FAILOVER_CENTRAL_TOKEN=" + apiToken}, "central", "device", "show", "-d",
		"dev1", "-n", "a", "--ca-file", bad)
	if code != 2 || !strings.Contains(stderr, "--ca-file: "+bad+": certificate 2 (line ") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}
