package emulator_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func (w world) mustInject(target string, fault emulator.Fault, p emulator.Params) {
	w.Helper()
	if err := w.Inject(target, fault, p); err != nil {
		w.Fatal(err)
	}
}

func (w world) mustClear(target string, fault emulator.Fault) {
	w.Helper()
	if err := w.Clear(target, fault); err != nil {
		w.Fatal(err)
	}
}

// onBothNetworks runs a test in memory and on sockets.
func onBothNetworks(t *testing.T, config emulator.Config, test func(t *testing.T, w world)) {
	t.Run("memory", func(t *testing.T) { inBubble(t, config, test) })
	t.Run("sockets", func(t *testing.T) { onSockets(t, config, test) })
}

func TestTheDocumentDescribesEveryFaultAndParameter(t *testing.T) {
	text, err := os.ReadFile("../../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, f := range emulator.Faults() {
		parameters := "—"
		if len(f.Parameters) > 0 {
			parameters = "`" + strings.Join(f.Parameters, "`, `") + "`"
		}
		for _, name := range f.Required {
			parameters = strings.Replace(parameters, "`"+name+"`", "**`"+name+"`**", 1)
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", f.Name, strings.Join(f.Targets, ", "), parameters,
			f.Description)
	}
	_, documented, _ := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"),
		"| Fault | Targets | Parameters | What happens |\n|---|---|---|---|\n")
	documented, _, _ = strings.Cut(documented, "\n\n")
	if documented+"\n" != table.String() {
		t.Errorf("the table of faults in docs/emulator.md should be\n%s", table.String())
	}
	for _, name := range emulator.ParameterNames() {
		if !strings.Contains(string(text), "| `"+name+"` |") {
			t.Errorf("docs/emulator.md does not explain the parameter %s", name)
		}
	}
}

func TestEveryFaultHasADescriptionAndKnownParameters(t *testing.T) {
	seen := map[emulator.Fault]bool{}
	for _, f := range emulator.Faults() {
		if seen[f.Name] || f.Description == "" || len(f.Targets) == 0 || strings.HasSuffix(f.Description, ".") {
			t.Errorf("%+v", f)
		}
		seen[f.Name] = true
		for _, name := range f.Parameters {
			if !strings.Contains(" "+strings.Join(emulator.ParameterNames(), " ")+" ", " "+name+" ") {
				t.Errorf("%s has the parameter %s", f.Name, name)
			}
		}
	}
}

// allParams returns a valid value for each parameter of a fault.
func allParams(t *testing.T, f emulator.FaultInfo) (p emulator.Params) {
	t.Helper()
	values := map[string]string{
		"count": "3", "probability": "0.5", "delay": "1s", "jitter": "1s", "rate": "1000", "retry-after": "5s",
		"status": "500",
		"mark":   "poison", "hub": "B", "anew": "true",
	}
	for _, name := range f.Parameters {
		if err := p.Set(name, values[name]); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestEveryFaultIsInjectedIntoItsTargetsOnlyAndCleared(t *testing.T) {
	targets := map[string]string{emulator.TargetDPS: "DPS", emulator.TargetHub: "A", emulator.TargetDevice: device}
	for _, f := range emulator.Faults() {
		t.Run(string(f.Name), func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				w.Assign(device, "A")
				for kind, target := range targets {
					err := w.Inject(target, f.Name, allParams(t, f))
					fits, checkErr := strings.Contains(strings.Join(f.Targets, " "), kind),
						f.Check(kind, allParams(t, f))
					if (err == nil) != fits || (checkErr == nil) != fits {
						t.Errorf("%s: Inject: %v; Check: %v", kind, err, checkErr)
					}
					if err != nil &&
						!strings.HasPrefix(err.Error(), "emulator: inject "+string(f.Name)+" into "+target) {
						t.Error(err)
					}
				}
				active := w.ActiveFaults()
				if len(active) != len(f.Targets) || active[0].Fault != f.Name ||
					!reflect.DeepEqual(active[0].Params, allParams(t, f)) {
					t.Errorf("the active faults are %+v", active)
				}
				for _, target := range targets {
					w.mustClear(target, "")
				}
				if active := w.ActiveFaults(); len(active) > 0 {
					t.Errorf("the active faults after Clear are %+v", active)
				}
				w.registerDevice(t)
				w.mustConnect(login{hub: w.HubOf(device)}).mustPublish(events, "well again")
				w.wantNoViolation()
			})
		})
	}
}

func TestAFaultIsClearedAfterItsTime(t *testing.T) {
	for _, f := range emulator.Faults() {
		t.Run(string(f.Name), func(t *testing.T) {
			inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
				w.Assign(device, "A")
				target := map[string]string{emulator.TargetDPS: "DPS", emulator.TargetHub: "A",
					emulator.TargetDevice: device}[f.Targets[0]]
				p := allParams(t, f)
				p.For = time.Minute
				w.mustInject(target, f.Name, p)
				time.Sleep(time.Minute - time.Nanosecond)
				synctest.Wait()
				if len(w.ActiveFaults()) != 1 {
					t.Errorf("too early: %+v", w.ActiveFaults())
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if len(w.ActiveFaults()) != 0 {
					t.Errorf("too late: %+v", w.ActiveFaults())
				}
				w.registerDevice(t)
				w.mustConnect(login{hub: w.HubOf(device)}).mustPublish(events, "well again")
			})
		})
	}
}

func TestAFaultAppliesAsOftenAsItsCount(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.mustInject("DPS", emulator.Reject, emulator.Params{Count: 2})
		for range 2 {
			if code := w.refusal(login{}); code != 5 {
				t.Errorf("CONNACK %d", code)
			}
		}
		w.mustConnect(login{})
		if len(w.ActiveFaults()) != 0 {
			t.Errorf("the active faults are %+v", w.ActiveFaults())
		}
	})
}

func TestRandomChoicesAreTheSameInEachRun(t *testing.T) {
	var runs [2]string
	for run := range runs {
		inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
			w.mustInject("DPS", emulator.Reject, emulator.Params{Probability: 0.5})
			for range 20 {
				p, err := w.connect(login{})
				runs[run] += string("+-"[min(p.code, 1)])
				if err == nil {
					p.close()
				}
			}
		})
	}
	if runs[0] != runs[1] || strings.Count(runs[0], "-") < 5 || strings.Count(runs[0], "+") < 5 {
		t.Errorf("the runs went %q", runs)
	}
}

func TestUnknownFaultsTargetsAndParametersAreErrors(t *testing.T) {
	inBubble(t, emulator.Config{}, func(t *testing.T, w world) {
		w.Enroll("A", "") // a device with the name of a hub
		var p emulator.Params
		for name, err := range map[string]error{
			"an unknown target":        w.Inject("C", emulator.FIN, p),
			"an unknown fault":         w.Inject("A", "bad luck", p),
			"no fault":                 w.Inject("A", "", p),
			"healing an unknown fault": w.Clear("A", "bad luck"),
			"healing no one":           w.Clear("C", ""),
			"another's parameter":      w.Inject("A", emulator.FIN, emulator.Params{Mark: "x"}),
			"a probability of two":     w.Inject("A", emulator.Reject, emulator.Params{Probability: 2}),
			"no mark":                  w.Inject("A", emulator.Poison, p),
			"a status of success":      w.Inject("A", emulator.TwinError, emulator.Params{Status: 204}),
			"a negative time":          w.Inject("A", emulator.FIN, emulator.Params{For: -1}),
			"a hub's fault":            w.Inject("device/A", emulator.FIN, p),
			"no such parameter":        p.Set("luck", "1"),
			"no duration":              p.Set("for", "long"),
			"no number":                p.Set("count", "many"),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), "emulator: ") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(w.ActiveFaults()) != 0 {
			t.Errorf("the active faults are %+v", w.ActiveFaults())
		}
		// text that looks like a number
		if err := w.Inject("A", emulator.Poison, emulator.Params{Mark: "-40"}); err != nil {
			t.Error(err)
		}
		w.Close()
		if err := w.Inject("A", emulator.FIN, p); !errors.Is(err, emulator.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestSetParsesTheTextOfParameters(t *testing.T) {
	var p emulator.Params
	for _, text := range []string{"for=1m0s", "count=2", "probability=0.25", "delay=1s", "mark=a b", "anew=true"} {
		name, value, _ := strings.Cut(text, "=")
		if err := p.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.String(); got != " for=1m0s count=2 probability=0.25 delay=1s mark=a b anew=true" {
		t.Errorf("got %q", got)
	}
}
