//go:build unix

package main_test

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

func TestCentralCommandsCallTheEmulatorWithoutAppID(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	s := newControlStub(t)
	env := s.controlFile(t)
	moved := "{\n  \"hubIdentifier\": \"" + hubA +
		"\",\n  \"message\": \"Success! It returns at 2026-01-02T03:04:05Z\"\n}\n"
	answered := "{\n  \"response\": {\n    \"a\": 1\n  },\n  \"responseCode\": 200\n}\n"
	const version = "?api-version=2022-07-31"
	const failover, device = "POST /system/iothub/devices/dev1/manual-failover", "GET /api/devices/dev1"
	const echo = "POST /api/devices/dev1/commands/echo" + version
	const template = "GET /api/deviceTemplates/dtmi:x%3B1" + version
	for args, c := range map[string]struct{ requests, stdout string }{
		"manual-failover -d dev1":                  {failover + " {}", moved},
		"manual-failover --device-id dev1 --ttl 7": {failover + ` {"ttl":7}`, moved},
		"manual-failover -d dev1 --ttl-minutes 30": {failover + ` {"ttl":30}`, moved},
		"manual-failover -d dev1 --output table": {failover + " {}", "hubIdentifier  " + hubA +
			"\nmessage        Success! It returns at 2026-01-02T03:04:05Z\n"},
		"manual-failback -d dev1": {"POST /system/iothub/devices/dev1/manual-failback",
			"{\n  \"hubIdentifier\": \"" + hubA + "\",\n  \"message\": \"It is back <home>\"\n}\n"},
		"show -d dev1 -o table": {device + version,
			"displayName    Dev 1\nenabled        true\nid             dev1\norganizations  []\n" +
				"provisioned    true\nsimulated      false\ntemplate       dtmi:x;1\n"},
		"registration-info -d dev1 -o table": {device + version,
			"@device_id                              dev1\n" +
				"device_registration_info.device_status  provisioned\n" +
				"device_registration_info.display_name   Dev 1\n" +
				"device_registration_info.id             dev1\n" +
				"device_registration_info.simulated      false\n" +
				"device_registration_info.template       dtmi:x;1\n" +
				"dps_state.error                         None.\n" +
				"dps_state.status                        null\n"},
		"twin show -d dev1": {device + "/properties" + version,
			"{\n  \"$metadata\": {\n    \"fanSpeed\": {\n      \"desiredValue\": 3\n    }\n  },\n  \"fanSpeed\": " +
				"3\n}\n"},
		"twin show -d dev1 --mn m": {device + "/modules/m/properties" + version,
			"{\n  \"m\": 1\n}\n"},
		"twin show -d dev1 --module-name m --co c": {device + "/modules/m/components/c/properties" + version,
			"{\n  \"c\": 1\n}\n"},
		"twin show -d dev1 --co pump": {device + "/components/pump/properties" + version,
			"{\n  \"on\": true\n}\n"},
		`command run -d dev1 --cn echo -k {"request":1}`: {echo + ` {"request":1}`, answered},
		"command run -d dev1 --command-name echo":        {echo + " {}", answered},
		"command run -d dev1 --cn start -i pump -o table": {device + version + "\n" + template + "\n" +
			"POST /api/devices/dev1/components/pump/commands/start" + version + " {}",
			"response      null\nresponseCode  200\n"},
		"command run -d dev1 --cn echo -i main": {device + version + "\n" + template + "\n" + echo + " {}", answered},
	} {
		code, stdout, stderr := run(t, env, append([]string{"central", "device"}, strings.Fields(args)...)...)
		if code != 0 || stdout != c.stdout || stderr != "" {
			t.Errorf("%s: exit code %d, %s\n%s, want\n%s", args, code, stderr, stdout, c.stdout)
		}
		if requests := strings.Join(s.requests(t, "Bearer "+emulatorToken), "\n"); requests != c.requests {
			t.Errorf("%s asked\n%s, want\n%s", args, requests, c.requests)
		}
	}
}

func TestContentOfACommandIsJSONOrAFileOrStandardInput(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	s := newControlStub(t)
	env := s.controlFile(t)
	path := file(t, "content.json", "{\"request\": {\"x\": true}}\n")
	for _, content := range []string{`{ "request": {"x":true} }`, path, "@" + path, "@-"} {
		c := command(t, env, "central", "device", "command", "run", "-d", "dev1", "--cn", "echo", "-k", content)
		c.Stdin = strings.NewReader(`{"request":{"x":true}}`)
		start(t, c).wantExit(0)
		if requests := s.requests(t, "Bearer "+emulatorToken); len(requests) != 1 ||
			!strings.HasSuffix(requests[0], ` {"request":{"x":true}}`) {
			t.Errorf("%s: it asked %q", content, requests)
		}
	}
	for _, content := range []string{"{'request':1}", "", "no-file.json", "@/nowhere/c.json", "@", "{} {}"} {
		code, stdout, stderr := run(t, env, "central", "device", "command", "run", "-d", "dev1", "--cn", "echo", "-k",
			content)
		if code != 2 || stdout != "" || !strings.Contains(stderr, "--content") {
			t.Errorf("%q: exit code %d, %s", content, code, stderr)
		}
	}
	for content, want := range map[string]string{
		`"hi"`: `give {"request":"hi"}`, "[1, 2]": `give {"request":[1,2]}`, " 5": `give {"request":5}`,
		"null":                                   `give {"request":null}`,
		strings.Repeat(" ", 200) + "true":        `give {"request":…}`,
		`"` + emulator.DevelopmentGroupKey + `"`: "--content is not a JSON object",
	} {
		code, stdout, stderr := run(t, env, "central", "device", "command", "run", "-d", "dev1", "--cn", "echo", "-k",
			content)
		if code != 2 || stdout != "" || !strings.Contains(stderr, want) || !strings.Contains(stderr, `as "request"`) ||
			strings.Contains(stderr, emulator.DevelopmentGroupKey) {
			t.Errorf("%q: exit code %d, %s", content, code, stderr)
		}
	}
	large := file(t, "large.json", `{"request":true}`+strings.Repeat(" ", 1<<20))
	code, _, stderr := run(t, env, "central", "device", "command", "run", "-d", "dev1", "--cn", "echo", "-k", large)
	if code != 2 || !strings.Contains(stderr, "--content: "+large+" is larger than 1048576 bytes") {
		t.Errorf("a large one: exit code %d, %s", code, stderr)
	}
	if requests := s.requests(t, ""); len(requests) > 0 {
		t.Errorf("it asked %q", requests)
	}
}

func TestTokenComesFromAFileOrTheEnvironment(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	s := newControlStub(t)
	args := []string{"central", "device", "manual-failover", "-d", "dev1", "--ca-file", file(t, "ca.pem", s.ca),
		"--central-api-uri", s.URL}
	tokenFile := file(t, "token", apiToken+"\n")
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{[]string{"FAILOVER_CENTRAL_TOKEN=" + apiToken}, nil, apiToken},
		{[]string{"FAILOVER_CENTRAL_TOKEN=eyJ0eXAi.abc"}, nil, "Bearer eyJ0eXAi.abc"},
		{nil, []string{"--token-file", tokenFile}, apiToken},
		{[]string{"FAILOVER_CENTRAL_TOKEN=another"}, []string{"--token-file", tokenFile, "-n", "myapp"}, apiToken},
		{[]string{"FAILOVER_ENV_FILE=" + file(t, "env", "FAILOVER_CENTRAL_TOKEN='"+apiToken+"'\n")}, nil, apiToken},
	} {
		if code, _, stderr := run(t, c.env, append(args, c.args...)...); code != 0 {
			t.Errorf("%v %v: exit code %d, %s", c.env, c.args, code, stderr)
		}
		if requests := s.requests(t, c.want); len(requests) != 1 {
			t.Errorf("it asked %q", requests)
		}
	}
	// Azure's DPS must not learn of an emulator's devices, so the command does not request their
	// keys.
	args[2] = "registration-info"
	if code, stdout, stderr := run(t, []string{"FAILOVER_CENTRAL_TOKEN=" + apiToken}, args...); code != 0 ||
		!strings.Contains(stdout, `"status": null`) {
		t.Errorf("exit code %d, %s %s", code, stdout, stderr)
	}
	if requests := s.requests(t, apiToken); len(requests) != 1 ||
		!strings.HasPrefix(requests[0], "GET /api/devices/dev1?") {
		t.Errorf("it asked %q", requests)
	}
	// Only this file contains the authority of the certificate.
	code, _, stderr := run(t, []string{"FAILOVER_CENTRAL_TOKEN=" + apiToken}, "central", "device", "show", "-d",
		"dev1", "--central-api-uri", s.URL)
	if code != 1 || !strings.Contains(stderr, "is not trusted (") || strings.Contains(stderr, "Canary") {
		t.Errorf("without the CA: exit code %d, %s", code, stderr)
	}
}

// As with `az`, whose --central-api-uri and --central-dns-suffix are the same setting.
func TestEmulatorNamedByAppIDGetsItsOwnToken(t *testing.T) {
	t.Parallel()
	s := newControlStub(t)
	env := append(s.controlFile(t), "FAILOVER_CENTRAL_TOKEN="+apiToken)
	suffix := "0.0.1:" + s.port()
	for _, args := range [][]string{
		{"-n", "127", "--central-dns-suffix", suffix},
		{"--app-id", "127", "--central-api-uri", suffix},
		{"-n", "127", "--central-api-uri", "myapp", "--central-dns-suffix", suffix},
		{"-n", "127", "--central-dns-suffix", "myapp", "--central-api-uri", suffix},
		{"-n", "127", "--central-api-uri", s.URL + "/"},
		{"--central-api-uri", "https://localhost:" + s.port()},
	} {
		if code, _, stderr := run(t, env, append([]string{"central", "device", "show", "-d", "dev1"},
			args...)...); code != 0 {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
		if requests := s.requests(t, "Bearer "+emulatorToken); len(requests) != 1 {
			t.Errorf("%v asked %q", args, requests)
		}
	}
}

func TestCallForAnotherEmulatorIsRefused(t *testing.T) {
	t.Parallel()
	announced, other := newControlStub(t), newControlStub(t)
	env := append(announced.controlFile(t), "FAILOVER_CENTRAL_TOKEN="+apiToken)
	code, _, stderr := run(t, env, "central", "device", "manual-failover", "-d", "dev1", "--central-api-uri",
		other.URL, "--ca-file", file(t, "ca.pem", other.ca))
	if code != 0 || len(announced.requests(t, "")) > 0 || len(other.requests(t, apiToken)) != 1 {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestMissingEmulatorIsReportedWithTheNextStep(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	for _, args := range []string{"central device show -d dev1", "central device manual-failover -d dev1",
		"lizard list", "lizard kill A", "lizard heal"} {
		code, stdout, stderr := run(t, nil, strings.Fields(args)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, "no emulator runs on this machine (there is no ") ||
			!strings.Contains(stderr,
				filepath.Join("failover", "emulator.json")+"): start one with failover emulator") {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
		if strings.Contains(stderr, "--app-id") != strings.HasPrefix(args, "central") {
			t.Errorf("%s: %s", args, stderr)
		}
	}
	s := newControlStub(t)
	env := s.controlFile(t)
	s.Close()
	for _, args := range []string{"central device show -d dev1", "lizard list"} {
		code, _, stderr := run(t, env, strings.Fields(args)...)
		if code != 1 || !strings.Contains(stderr, "seems to run no longer; start one with failover emulator") ||
			strings.Contains(stderr, emulatorToken) {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
	}
}

func TestCentralCommandsCheckTheirFlagsBeforeTheFirstRequest(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	s := newControlStub(t)
	env := s.controlFile(t)
	for _, c := range []struct{ args, want string }{
		{"device show", "--device-id (-d) is missing"},
		{"device show -d dev1 -o yaml", `--output is "yaml": it must be json or table`},
		{"device show -d dev1 --timeout 0s", "--timeout is 0s"},
		{"device show -d dev1 -n myapp",
			"FAILOVER_CENTRAL_TOKEN (or --token-file) is missing: create an API token in IoT Central"},
		{"device show -d dev1 --central-dns-suffix example.com", "--app-id (-n) is missing"},
		{"device show -d dev1 --central-api-uri http://x.y", `"http://x.y" is not https`},
		{"device show -d dev1 -n 127 --central-dns-suffix 0.0.1:1",
			"the control file names https://127.0.0.1:" + s.port() + ", not https://127.0.0.1:1: leave --app-id out"},
		{"device show -d dev1 -n evil.example/", "address: "},
		{"device show -d dev1 -n a --token-file /nowhere/t", "--token-file: stat /nowhere/t: no such file"},
		{"device show -d dev1 -n 127 --central-dns-suffix 0.0.1:1 --token-file /nowhere/t",
			"--token-file: stat /nowhere/t: no such file"},
		{"device show -d dev1 -n a --token-file /dev/null", "the token is empty"},
		{"device show -d dev1 -n a --token-file /etc/passwd", "the token is not valid"},
		{"device manual-failover -d dev1 --ttl-minutes 0", "--ttl-minutes is 0: it must be at least 1"},
		{"device manual-failover -d dev1 --ttl -3", "--ttl-minutes is -3"},
		{"device manual-failover -d dev1 --ttl-minutes 1.5", "see failover central device manual-failover --help"},
		{"device command run -d dev1", "--command-name (--cn) is missing"},
		{"device show dev1", "see failover central device show --help"},
		{"device bogus", "see failover central device --help"},
		{"bogus", "see failover central --help"},
		{"device twin bogus", "--help"},
		{"device show -d dev1 --bogus", "--help"},
	} {
		code, stdout, stderr := run(t, env, append([]string{"central"}, strings.Fields(c.args)...)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("central %s: exit code %d, stdout %q, %s", c.args, code, stdout, stderr)
		}
	}
	token := append(env, "FAILOVER_CENTRAL_TOKEN="+apiToken)
	for _, ca := range []string{"/nowhere/ca.pem", "/dev/null"} {
		code, _, stderr := run(t, token, "central", "device", "show", "-d", "dev1", "-n", "a", "--ca-file", ca)
		if code != 2 || !strings.Contains(stderr, "--ca-file: ") || !strings.Contains(stderr, ca) {
			t.Errorf("%s: exit code %d, %s", ca, code, stderr)
		}
	}
	if requests := s.requests(t, ""); len(requests) > 0 {
		t.Errorf("it asked %q", requests)
	}
}

func TestTokenOnTheCommandLineIsRefusedAndNotQuoted(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--token", apiToken}, {"--token=" + apiToken},
		{"--token-file", apiToken, "-n", "a"}, {apiToken}, {"--app-id", apiToken}} {
		code, stdout, stderr := run(t, []string{"FAILOVER_CENTRAL_TOKEN=x"},
			append([]string{"central", "device", "show", "-d", "dev1"}, args...)...)
		if code != 2 || strings.Contains(stdout+stderr, "Canary4711") {
			t.Errorf("%q: exit code %d, %s%s", args, code, stdout, stderr)
		}
		if strings.HasPrefix(args[0], "--token") && !strings.HasPrefix(args[0], "--token-") &&
			!strings.Contains(stderr, "every user of this machine can read command lines: put the token into "+
				"FAILOVER_CENTRAL_TOKEN") {
			t.Errorf("%q is not explained: %s", args, stderr)
		}
	}
}

func TestAProxyIsNotQuoted(t *testing.T) {
	t.Parallel()
	for _, proxy := range []string{"http://user:Canary4711@a b:1", "http://user:Canary4711@127.0.0.1:1"} {
		code, _, stderr := run(t, []string{"FAILOVER_CENTRAL_TOKEN=" + apiToken, "HTTPS_PROXY=" + proxy},
			"central", "device", "show", "-d", "dev1", "-n", "myapp")
		if code != 1 || !strings.Contains(stderr, "myapp.azureiotcentral.com cannot be reached ") ||
			!strings.Contains(stderr, "HTTPS_PROXY") ||
			strings.Contains(stderr, "Canary4711") {
			t.Errorf("%s: exit code %d, %s", proxy, code, stderr)
		}
	}
}

func TestRefusalOfTheApplicationExitsWithOneAndTheNextStep(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	s := newControlStub(t)
	ca := file(t, "ca.pem", s.ca)
	for name, c := range map[string]struct {
		refuse func(w http.ResponseWriter)
		want   string
	}{
		"401": {func(w http.ResponseWriter) { complain(w, 401, "Unauthorized", "bad "+apiToken) },
			"answered 401 Unauthorized (bad SharedAccessSignature [token]): the token has expired"},
		"403": {func(w http.ResponseWriter) { complain(w, 403, "Forbidden", "no") },
			"answered 403 Forbidden (no): the role of the token"},
		"404": {func(w http.ResponseWriter) { complain(w, 404, "NotFound", "no") },
			"answered 404 NotFound (no): check the ID of the device"},
		"409": {func(w http.ResponseWriter) { complain(w, 409, "Conflict", "no") },
			"answered 409 Conflict (no): it does not fit"},
		"429": {func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "9")
			complain(w, 429, "TooManyRequests", "no")
		}, "try again in 9s"},
		"500": {func(w http.ResponseWriter) { complain(w, 500, "InternalServerError", "no") }, "try again later"},
		"a proxy": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(502)
			_, _ = io.WriteString(w, "<html>"+apiToken)
		}, "answered 502 (text/html that is not IoT Central's)"},
		"a redirect": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://evil.example/"+apiToken)
			w.WriteHeader(307)
		}, "answered 307 (a redirect to https://evil.example): redirects are not followed"},
		"silence": {nil, "did not answer in time: try again, or allow it more time"},
	} {
		s.mu.Lock()
		s.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			if c.refuse == nil {
				<-r.Context().Done()
			} else {
				c.refuse(w)
			}
			return true
		}
		s.mu.Unlock()
		args := []string{"central", "device", "manual-failover", "-d", "dev1", "--ca-file", ca, "--central-api-uri",
			s.URL}
		if name == "silence" {
			args = append(args, "--timeout", "200ms")
		}
		code, stdout, stderr := run(t, []string{"FAILOVER_CENTRAL_TOKEN=" + apiToken}, args...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "Canary4711") ||
			strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, stdout %q, %s", name, code, stdout, stderr)
		}
	}
}
