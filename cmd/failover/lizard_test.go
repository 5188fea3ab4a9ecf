//go:build unix

package main_test

import (
	"encoding/json"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/slow"
)

func TestLizardListsInjectsAndClearsFaults(t *testing.T) {
	slow.Test(t)
	t.Parallel()
	s := newControlStub(t)
	env := s.controlFile(t)
	lizard := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := run(t, env, append([]string{"lizard"}, args...)...)
		if code != want {
			t.Errorf("lizard %q: exit code %d, %s", args, code, stderr)
		}
		return stdout, stderr
	}
	list, _ := lizard(0, "list")
	for _, f := range emulator.Faults() {
		if !strings.Contains(list, "\n"+string(f.Name)+" ") || !strings.Contains(list, f.Description) {
			t.Errorf("%s is not in the list", f.Name)
		}
	}
	if !strings.HasSuffix(list, "\n\nNo fault is active.\n") {
		t.Errorf("the list:\n%s", list)
	}
	s.requests(t, "Bearer "+emulatorToken)

	for _, c := range []struct {
		args         []string
		body, stdout string
	}{
		{[]string{"kill", "A"}, `{"target":"A","fault":"fin","parameters":{}}`, "Fault fin is active at A.\n"},
		{[]string{"kill", "B", "--for", "30s"}, `{"target":"B","fault":"fin","parameters":{"for":"30s"}}`,
			"Fault fin is active at B: for=30s.\n"},
		{[]string{"kill", "DPS", "skew", "--delay", "-5s"},
			`{"target":"DPS","fault":"skew","parameters":{"delay":"-5s"}}`,
			"Fault skew is active at DPS: delay=-5s.\n"},
		{[]string{"kill", "dev1", "disabled", "--anew", "--for=1m"},
			`{"target":"dev1","fault":"disabled","parameters":{"anew":"true","for":"1m"}}`,
			"Fault disabled is active at " +
				"dev1: anew=true for=1m.\n"},
	} {
		if stdout, _ := lizard(0, c.args...); stdout != c.stdout {
			t.Errorf("%q says %q", c.args, stdout)
		}
		if requests := s.requests(t, "Bearer "+emulatorToken); len(requests) != 1 ||
			requests[0] != "POST /lizard/v1/strikes "+c.body {
			t.Errorf("%q asked %q", c.args, requests)
		}
	}
	list, _ = lizard(0, "list")
	if want := "\n\nActive faults:\nA     fin\nB     fin       for=30s\nDPS   skew      delay=-5s\ndev1  disabled  " +
		"anew=true for=1m\n"; !strings.HasSuffix(strings.ReplaceAll(list, "fin       \n", "fin\n"), want) {
		t.Errorf("unexpected end of the list:\n%s", list)
	}
	text, _ := lizard(0, "list", "-o", "json")
	var all struct{ Faults, Strikes []map[string]any }
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all.Faults) != len(emulator.Faults()) ||
		len(all.Strikes) != 4 || all.Strikes[1]["fault"] != "fin" {
		t.Errorf("%v in\n%s", err, text)
	}
	if text, _ := lizard(0, "kill", "A", "rst", "-o",
		"json"); text != "{\n  \"target\": \"A\",\n  \"fault\": \"rst\",\n  \"parameters\": {}\n}\n" {
		t.Errorf("the fault as JSON: %s", text)
	}

	s.requests(t, "Bearer "+emulatorToken)
	for _, c := range [][]string{
		{"DELETE /lizard/v1/strikes?fault=fin&target=A", "Fault fin at A is cleared.\n", "heal", "A", "fin"},
		{"DELETE /lizard/v1/strikes?target=DPS", "All faults at DPS are cleared.\n", "heal", "DPS"},
		{"DELETE /lizard/v1/strikes", "All faults are cleared.\n", "heal"},
	} {
		if stdout, _ := lizard(0, c[2:]...); stdout != c[1] {
			t.Errorf("%q says %q", c[2:], stdout)
		}
		if requests := s.requests(t, "Bearer "+emulatorToken); len(requests) != 1 || requests[0] != c[0] {
			t.Errorf("%q asked %q", c[2:], requests)
		}
	}
	if _, stderr := lizard(2, "kill", "A", "hiccup"); !strings.Contains(stderr,
		`answered 400 InvalidParameter (there is no fault "hiccup")`) {
		t.Errorf("an unknown fault: %s", stderr)
	}
	for _, args := range [][]string{{"kill"}, {"kill", "a", "b", "c"}, {"heal", "a", "b", "c"}, {"heal", ""},
		{"heal", "A", ""}, {"heal", "", "fin"}, {"kill", "A", "--bogus", "1"}, {"kill", "A", "--for"}, {"list",
			"A"}, {"list", "-o", "x"}, {"bogus"}} {
		if _, stderr := lizard(2, args...); stderr == "" {
			t.Errorf("%q says nothing", args)
		}
	}
}

func TestEachFaultParameterIsAFlagWithHelp(t *testing.T) {
	_, help, _ := run(t, nil, "lizard", "kill", "--help")
	for _, name := range emulator.ParameterNames() {
		_, line, found := strings.Cut(help, "\n      --"+name+" ")
		line, _, _ = strings.Cut(line, "\n")
		if words := strings.Fields(line); !found || len(words) < 2 {
			t.Errorf("--%s is %q", name, line)
		}
	}
}
