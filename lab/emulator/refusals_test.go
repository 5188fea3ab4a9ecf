package emulator_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"giantlizard.example/failover/lab/emulator"
)

func TestTheDocumentDescribesEveryRefusal(t *testing.T) {
	text, err := os.ReadFile("../../docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, r := range emulator.Refusals() {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", r.Name, r.What, r.Answer, r.Evidence)
	}
	_, documented, _ := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"),
		"| Refusal | What is refused | What the client gets | Evidence |\n|---|---|---|---|\n")
	documented, _, _ = strings.Cut(documented, "\n\n")
	if documented+"\n" != table.String() {
		t.Errorf("the table of refusals in docs/emulator.md should be\n%s", table.String())
	}
}

// Each refusal has one row with evidence, and code that refuses.
func TestEveryRefusalHasEvidenceAndCode(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range emulator.Refusals() {
		if seen[r.Name] || r.What == "" || r.Answer == "" || r.Evidence == "" {
			t.Errorf("%+v", r)
		}
		seen[r.Name] = true
	}
	constant := regexp.MustCompile(`\brefuse[A-Z]\w*`)
	var code string
	files, _ := filepath.Glob("*.go")
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		} else if file != "refusaltable.go" && !strings.HasSuffix(file, "_test.go") {
			code += string(text)
		}
	}
	table, _ := os.ReadFile("refusaltable.go")
	constants, rows, _ := strings.Cut(string(table), "\nvar refusals")
	used := constant.FindAllString(code, -1)
	for _, name := range constant.FindAllString(constants, -1) {
		if !slices.Contains(used, name) {
			t.Errorf("nothing leads to %s", name)
		}
		if strings.Count(rows, "\t{"+name+",") != 1 {
			t.Errorf("%s has no row, or more than one", name)
		}
	}
}

// refusedInBubble runs a test and returns the refusals of its events.
func refusedInBubble(t *testing.T, config emulator.Config, test func(t *testing.T, w world)) (names []string) {
	t.Helper()
	config.Observe = func(e emulator.Event) {
		if e.Refusal != "" {
			names = append(names, e.Refusal)
		}
	}
	inBubble(t, config, func(t *testing.T, w world) {
		test(t, w)
		w.Close()
	})
	return names
}

func TestEventsNameWhatWasRefused(t *testing.T) {
	atHub := func(do func(p *peer)) func(t *testing.T, w world) {
		return func(_ *testing.T, w world) {
			p := w.mustConnect(login{hub: "A"})
			do(p)
			p.mustLose(time.Hour)
		}
	}
	atDPS := func(topic, body string) func(t *testing.T, w world) {
		return func(_ *testing.T, w world) { w.connectDPS(login{}).request(topic, body) }
	}
	report := func(patch string) func(t *testing.T, w world) {
		return func(_ *testing.T, w world) {
			p := w.mustConnect(login{hub: "A"})
			p.mustSubscribe("$iothub/twin/res/#")
			p.request(report+"1", patch)
		}
	}
	for name, c := range map[string]struct {
		config emulator.Config
		do     func(t *testing.T, w world)
	}{
		"tls": {do: func(t *testing.T, w world) {
			conn, err := w.network.DialContext(t.Context(), "tcp", w.Hub("A"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			time.Sleep(time.Hour)
		}},
		"no-connect": {do: func(t *testing.T, w world) {
			conn, err := dialTLS(w, w.network.DialContext, w.DPSHost())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			time.Sleep(time.Hour)
		}},
		"protocol-version": {do: func(_ *testing.T, w world) { w.refusal(login{version: 3}) }},
		"mqtt":             {do: atHub(func(p *peer) { p.Publish("a/#", 1, false, "") })},
		"qos-2":            {do: atHub(func(p *peer) { p.Publish(events, 2, false, "") })},
		"topic":            {do: atHub(func(p *peer) { p.Publish("a", 1, false, "") })},
		"filter":           {do: atHub(func(p *peer) { p.Subscribe("a", 1, nil) })},
		"client-id":        {do: func(_ *testing.T, w world) { w.refusal(login{clientID: "dev2"}) }},
		"user-name":        {do: func(_ *testing.T, w world) { w.refusal(login{username: "dev1"}) }},
		"token":            {do: func(_ *testing.T, w world) { w.refusal(login{sas: "secret"}) }},
		"taken-over":       {do: atHub(func(p *peer) { p.mustConnect(login{hub: "A"}) })},
		"silent": {do: func(_ *testing.T, w world) {
			w.rawConnect(10 * time.Second)
			time.Sleep(time.Minute)
		}},
		"message-size":      {do: atHub(func(p *peer) { p.Publish(events, 1, false, make([]byte, 256<<10+1)) })},
		"registration-id":   {do: func(_ *testing.T, w world) { w.refusal(login{device: "dev1."}) }},
		"registration-body": {do: atDPS(fmt.Sprintf(putTopic, 1), "[]")},
		"operation":         {do: atDPS(fmt.Sprintf(getTopic, 1, "unknown"), "")},
		"registrations": {emulator.Config{Registrations: 1}, func(_ *testing.T, w world) {
			p := w.connectDPS(login{})
			for i := range 2 {
				p.register(i)
			}
		}},
		"polls": {do: func(_ *testing.T, w world) {
			p := w.connectDPS(login{})
			_, operation := p.register(0)
			for range 6 {
				p.request(fmt.Sprintf(getTopic, 1, operation), "")
			}
		}},
		"id-scope": {do: func(_ *testing.T, w world) {
			token := sas("0neOTHER/registrations/dev1", deviceKey(w.Cloud, device), time.Now().Add(time.Hour), "")
			w.connectDPS(login{username: "0neOTHER/registrations/dev1/api-version=2019-03-31", sas: token}).register(1)
		}},
		"device": {do: func(_ *testing.T, w world) { w.refusal(login{hub: "A"}) }},
		"hub-connections": {emulator.Config{HubConnections: 1}, func(_ *testing.T, w world) {
			for i := range 6 { // a burst of five seconds, and one
				w.mustConnect(login{hub: "A", device: fmt.Sprint("dev", i)})
			}
			w.Assign("dev7", "A")
			w.refusal(login{hub: "A", device: "dev7"})
		}},
		"token-expired": {do: func(_ *testing.T, w world) {
			w.mustConnect(login{hub: "A", keepAlive: time.Minute}).mustLose(2 * time.Hour)
		}},
		"subscriptions": {do: atHub(func(p *peer) {
			p.mustSubscribe(fourFilters...)
			p.mustSubscribe("$iothub/credentials/res/#")
			p.Subscribe("$iothub/methods/POST/a/#", 1, nil)
		})},
		"property-bag": {do: atHub(func(p *peer) { p.Publish(events+"a=%zz", 1, false, "") })},
		"twin-json":    {do: report("[]")},
		"twin-name":    {do: report(`{"a.b":1}`)},
		"twin-value":   {do: report(`{"a":4503599627370496}`)},
		"twin-depth":   {do: report(nested(11))},
		"twin-size":    {do: report(`{"a":[` + strings.Repeat(text(4096)+",", 9) + `"x"]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			names := refusedInBubble(t, c.config, c.do)
			if !slices.Equal(slices.Compact(names), []string{name}) {
				t.Errorf("the events name %q", names)
			}
		})
	}
}

func TestAFaultIsNoRefusalOfTheService(t *testing.T) {
	names := refusedInBubble(t, emulator.Config{}, func(_ *testing.T, w world) {
		for _, fault := range []emulator.Fault{emulator.Refuse, emulator.Reject} {
			w.Inject("A", fault, emulator.Params{})
			w.refusal(login{hub: "A"})
			w.Clear("A", fault)
		}
		w.BreakDPS(emulator.DPSForbids)
		w.connectDPS(login{}).register(1)
	})
	if len(names) > 0 {
		t.Errorf("the events name %q", names)
	}
}
