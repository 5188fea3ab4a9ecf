package scenario_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
	"giantlizard.example/failover/lab/scenario"
)

// everything is a text with each kind of statement, and canonical is the text that String returns
// for it.
const (
	everything = "\ufeff# A day that has\n#   everything in it.\n\n" + `
at 1m30s kill A;at 90s move B   # and this is no sentence
at 10s strike device poison mark="a b; # c" count=3 for=1m
at 10s strike DPS throttles retry-after=5s for 20s
at 0s kill DPS silence for 3s
every 30s method echo "hello; #there"
every 30s from 10s to 5m kill A refuse count=2 for 5s
every 60s to 2m heal A; ; ;
random attacks from 10s to 5m
random seed=7 attacks from 10s to 5m every about 40s` + "\r\n" + `
end 2h1m
at 1h heal device twin-mute
	at 1h desired { "a": {"b": [1, 2.50, null]}, "c": "x y" }
at 1h command setAlarm;at 1h method reboot 5; at 1h strike A skew for=1m delay=-1h
expect missing 0; expect attempts-a-minute 12; expect recovery 20s`
	canonical = `# A day that has everything in it.
at 1m30s kill A fin
at 1m30s move B
at 10s strike device poison for 1m mark="a b; # c" count=3
at 10s strike DPS throttles for 20s retry-after=5s
at 0s kill DPS silence for 3s
every 30s from 30s method echo "hello; #there"
every 30s from 10s to 5m kill A refuse for 5s count=2
every 1m from 1m to 2m heal A
random seed=1 attacks from 10s to 5m every about 30s
random seed=7 attacks from 10s to 5m every about 40s
at 1h heal device twin-mute
at 1h desired {"a":{"b":[1,2.50,null]},"c":"x y"}
at 1h command setAlarm
at 1h method reboot 5
at 1h strike A skew for 1m delay=-1h
expect recovery 20s
expect missing 0
expect attempts-a-minute 12
end 2h1m
`
)

func TestParseReadsEachStatement(t *testing.T) {
	s := mustParse(t, everything)
	if got := s.String(); got != canonical {
		t.Errorf("it reads\n%swant\n%s", got, canonical)
	}
	if s.Name != "test" || s.Sentence != "A day that has everything in it." || s.End != 2*time.Hour+time.Minute {
		t.Errorf("%q %q %s", s.Name, s.Sentence, s.End)
	}
	if e, ok := s.Expects(scenario.Recovery); !ok || e.Within != 20*time.Second {
		t.Errorf("%v %v", e, ok)
	}
	if e, ok := s.Expects(scenario.Duplicates); ok {
		t.Errorf("nobody expects %v", e)
	}
}

func TestParseAcceptsValuesAtTheLimits(t *testing.T) {
	for text, steps := range map[string]int{
		"every 20s to 20s move B; end 1m":              1,
		"every 20s from 5s to 45s move B; end 45001ms": 3,
		"every 10s move B; end 1m":                     5, // the end is not among them
		"at 59s move B; end 1m":                        1,
		"at 30s kill A for 30s; end 1m":                1, // the end clears all faults

		"at 30s kill A for 10s\nexpect recovery 20s\nend 1m":  2,
		"every 10s to 30s kill A for 5s; end 1m":              6,
		"at 10s kill A; end 1m":                               1,
		"every 10ms move B; end 50s":                          4999,
		"random attacks from 0s to 5s; end 1m":                2,
		"expect missing 0; end 168h":                          0,
		"end 1m" + strings.Repeat(" ", 256<<10-len("end 1m")): 0,
	} {
		s, err := scenario.Parse("test", text)
		if err != nil {
			t.Errorf("%.60q: %v", text, err)
		} else if n := len(s.Steps()); n != steps {
			t.Errorf("%.60q: %d steps, want %d", text, n, steps)
		}
	}
	if _, err := scenario.Parse("test", "random attacks from 0s to 1m every about 5s; end 1m"); err != nil {
		t.Error(err)
	}
}

func TestParseErrorsNameTheLineTheWordAndWhatIsAllowed(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", `the end is missing: add a line such as end 5m`},
		{"# only words", `the end is missing: add a line such as end 5m`},
		{"\n\nkill A", `line 3: "kill" is not allowed here: give at, every, random, expect or end`},
		{"at",
			`line 1: something is missing after "at": give a time since the beginning such as 10s or 1m30s, ` +
				`at most 168h`},
		{"at 10 kill A", `line 1: "10" is not allowed here: give a time since`},
		{"at -1s kill A", `line 1: "-1s" is not allowed here: give a time since`},
		{
			"at 10s", `line 1: something is missing after "10s": give kill, strike, heal, move, desired, ` +
				`method or command`,
		},
		{"at 10s kil A", `line 1: "kil" is not allowed here: give kill, strike,`},
		{"at 10s kill", `line 1: something is missing after "kill": give DPS, A, B or device`},
		{"at 10s kill dps", `line 1: "dps" is not allowed here: give DPS, A, B or device`},
		{"at 10s kill A softly", `line 1: "softly" is not allowed here: give fin, rst, refuse, silence or black-hole`},
		{"at 10s kill device", `line 1: fin: the fault can be injected into DPS or hub, not into device`},
		{"at 10s kill A slow", `line 1: "slow" is not allowed here: give fin,`},
		{"at 10s kill A for", `line 1: something is missing after "for": give a duration above 0 such as`},
		{"at 10s kill A for 0s", `line 1: "0s" is not allowed here: give a duration above 0`},
		{"at 10s kill A for 1s for 2s", `line 1: "for" is not allowed here: give for 30s`},
		{"at 10s kill A fin delay=1s", `line 1: "delay=1s" is not allowed here: give for 30s`},
		{"at 10s strike A throttles", `line 1: "throttles" is not allowed here: give fin, rst,`},
		{"at 10s strike DPS throttles 5s",
			`line 1: "5s" is not allowed here: give for 30s, retry-after=5s, count=3 or probability=0.5`},
		{"at 1s strike A slow delay=soon", `line 1: "delay=soon" is not allowed here: give a value such as delay=2s`},
		{"at 1s strike A slow delay=",
			`line 1: "delay=" is not allowed here: give for 30s, delay=2s, jitter=500ms or rate=4000`},
		{"at 1s strike A slow rate=1 rate=1", `line 1: "rate=1" is not allowed here: give for 30s`},
		{"at 1s strike A slow delay=-1s", `line 1: slow: the parameter delay is negative`},
		{"at 1s strike A flaky", `line 1: flaky: the fault needs the parameter probability`},
		{"at 1s strike A flaky probability=2", `line 1: flaky: the probability 2 is not between 0 and 1`},
		{"at 1s strike A twin-error status=200", `line 1: twin-error: the status 200 is not between 400 and 599`},
		{"at 1s heal A mute", `line 1: "mute" is not allowed here: give fin,`},
		{"at 1s heal A fin now",
			`line 1: "now" is not allowed here: give nothing more, or begin another statement on a line of its own`},
		{"at 1s move DPS", `line 1: "DPS" is not allowed here: give A or B`},
		{"at 1s desired 5", `line 1: "5" is not allowed here: give a JSON object such as {"fanSpeed":3}`},
		{"at 1s desired", `line 1: something is missing after "desired": give a JSON object`},
		{`at 1s desired {"a":1`, `line 1: "{\"a\":1" is not JSON: its end is missing on this line`},
		{
			`at 1s desired {"a":1,"a":2}`,
			`line 1: a twin would change this value: the name "a" occurs twice in one object`,
		},
		{`at 1s desired {"a":"\ud800"}`, `line 1: a twin would change this value:`},
		{`at 1s strike device poison mark="\ud800"`, `line 1: `},
		{`at 1s desired {a:1}`, `line 1: "{a:1}" is not JSON: invalid character 'a'`},
		{`at 1s desired {"a":1}#`, `line 1: "#" follows a JSON value without a space`},
		{"at 1s method", `line 1: something is missing after "method": give the name of a method, without + and #`},
		{`at 1s method "echo"`, `line 1: "\"echo\"" is not allowed here: give the name of a method`},
		{"at 1s method a+b", `line 1: "a+b" is not allowed here: give the name`},
		{
			"at 1s method echo hello",
			`line 1: "hello" is not allowed here: give a JSON value such as 5, "text" or {"a":1}`,
		},
		{"at 1s command alarm 5 6", `line 1: "6" is not allowed here: give nothing more`},
		{"every", `line 1: something is missing after "every": give a duration above 0`},
		{"every 10s", `line 1: something is missing after "10s": give kill,`},
		{"every 0s kill A", `line 1: "0s" is not allowed here: give a duration above 0`},
		{"every 10s from 50s to 20s kill A",
			`line 1: it never happens: the first time would be 50s, after the last time 20s`},
		{"every 30s to 20s move B; end 1m",
			`line 1: it never happens: the first time would be 30s, after the last time 20s`},
		{"every 1ms move B; end 1m", `line 1: the scenario has more than 10000 steps`},
		{"random", `line 1: something is missing after "random": give attacks or seed=7`},
		{"random seed=x attacks", `line 1: "seed=x" is not allowed here: give a seed, a whole number such as seed=7`},
		{"random attacks", `line 1: something is missing after "attacks": give from`},
		{"random attacks from 1s to", `line 1: something is missing after "to": give a duration`},
		{"random attacks from 1s to 1m every 5s", `line 1: "5s" is not allowed here: give about`},
		{
			"random attacks from 1s to 1m every about 1s",
			`line 1: attacks every about 1s are too frequent: give 5s or more`,
		},
		{"random attacks from 1m to 1m", `line 1: there is no time for an attack between 1m and 1m: leave 5s or more`},
		{"expect", `line 1: something is missing after "expect": give recovery, missing, duplicates, out-of-order,`},
		{"expect miracles 1", `line 1: "miracles" is not allowed here: give recovery,`},
		{"expect recovery 20", `line 1: "20" is not allowed here: give a duration above 0`},
		{"expect missing none", `line 1: "none" is not allowed here: give a whole number such as 0`},
		{"expect missing -1", `line 1: "-1" is not allowed here: give a whole number`},
		{"expect missing 0\nexpect missing 1", `line 2: there is already an expectation for missing`},
		{"end", `line 1: something is missing after "end": give a duration`},
		{"end 5m\nend 6m", `line 2: a second end: the scenario already ends at 5m`},
		{
			"end 1000h", `line 1: "1000h" is not allowed here: give a duration above 0 such as 10s or 1m30s, ` +
				`at most 168h`,
		},
		{"at 1m kill A; end 1m", `line 1: it lasts until 1m, but the scenario ends at 1m`},
		{"at 50s kill A for 20s; end 1m", `line 1: it lasts until 1m10s, but the scenario ends at 1m`},
		{"every 10s to 2m method x; end 1m", `line 1: it lasts until 2m, but the scenario ends at 1m`},
		{"at 10s kill A for 30s\nexpect recovery 30s\nend 1m",
			`line 3: the last fault ends at 40s, and a recovery may take 30s after that: end at 1m10s or later`},
		{"at 10s kill A \x00; end 1m", `line 1: there is a control character after "at 10s kill A "`},
		{"end 1m\n# \xff", `line 2: the line is not UTF-8`},
		{strings.Repeat(" ", 1<<20), `the text has more than 262144 bytes`},
	} {
		s, err := scenario.Parse("my.txt", c.text)
		if err == nil || !strings.HasPrefix(err.Error(), "scenario: my.txt: "+c.want) {
			t.Errorf("%.60q: %v\nwant %s", c.text, err, c.want)
		}
		if !reflect.DeepEqual(s, scenario.Scenario{}) {
			t.Errorf("%.60q: and yet there is %v", c.text, s)
		}
	}
}

func TestEachFaultAndParameterOfTheEmulatorCanBeWritten(t *testing.T) {
	targets := map[string]string{emulator.TargetDPS: "DPS", emulator.TargetHub: "A", emulator.TargetDevice: "device"}
	values := map[string]string{"probability": "0.5", "mark": "x", "hub": "B", "anew": "true", "status": "503",
		"count": "3", "rate": "9"}
	for _, f := range emulator.Faults() {
		for _, kind := range f.Targets {
			text := fmt.Sprintf("at 1s strike %s %s for 1m", targets[kind], f.Name)
			for _, name := range f.Parameters {
				value := values[name]
				if value == "" {
					value = "2s"
				}
				text += " " + name + "=" + value
			}
			step := mustParse(t, text+"; end 5m").Steps()[0]
			if step.Fault != f.Name || step.Verb != scenario.Inject || step.Target != targets[kind] {
				t.Errorf("%s: %+v", text, step)
			}
			if n := strings.Count(step.Params.String(), "="); n != len(f.Parameters)+1 {
				t.Errorf("%s: %d parameters, %s", text, n, step.Params)
			}
		}
	}
}

// wantSame parses the text of a scenario and wants the same scenario.
func wantSame(t *testing.T, s scenario.Scenario) {
	t.Helper()
	again, err := scenario.Parse(s.Name, s.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, s)
	}
	if again.String() != s.String() || again.Sentence != s.Sentence || again.End != s.End ||
		!reflect.DeepEqual(again.Expectations, s.Expectations) || !reflect.DeepEqual(again.Steps(), s.Steps()) {
		t.Errorf("read again\n%sit is\n%s", s, again)
	}
}

func TestParseReadsWhatStringWrites(t *testing.T) {
	for _, s := range append(scenario.Library(), mustParse(t, canonical)) {
		wantSame(t, s)
		wantSame(t, s.WithSeed(12345678901234567890))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range scenario.Library() {
		f.Add(s.String())
	}
	f.Add(everything)
	f.Add(canonical)
	f.Add("# # x\nat 0s method a=\"b c\" {\"x\":\"\\u2028\"};every 1ns from 1h move A\nend 1h")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := scenario.Parse("fuzz", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "scenario: fuzz: ") {
				t.Error(err)
			}
			return
		}
		wantSame(t, s)
		before := time.Duration(0)
		for _, step := range s.Steps() {
			if step.At < before || step.At >= s.End {
				t.Errorf("%s is at %s, after %s, and the end is %s", step, step.At, before, s.End)
			}
			before = step.At
		}
	})
}
