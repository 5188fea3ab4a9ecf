package control_test

import (
	"net"
	"strings"
	"testing"

	"giantlizard.example/failover/lab/emulator"
)

const strikes = "/lizard/v1/strikes"

func TestEveryFaultIsListed(t *testing.T) {
	w := onSockets(t)
	listed := w.want(200, "GET", "/lizard/v1/faults", "")["faults"].([]any)
	if len(listed) != len(emulator.Faults()) {
		t.Fatalf("%d are listed", len(listed))
	}
	for i, f := range emulator.Faults() {
		got := listed[i].(map[string]any)
		if got["name"] != string(f.Name) || got["doc"] != f.Description || len(got) != 4 {
			t.Errorf("%s is listed as %v", f.Name, got)
		}
		wantJSON(t, got["on"], string(jsonOf(f.Targets)))
		wantJSON(t, got["parameters"], string(jsonOf(append([]string{"for"}, f.Parameters...))))
	}
}

func TestFaultsAreInjectedAndCleared(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	wantJSON(t, w.want(200, "GET", strikes, ""), `{"strikes":[]}`)
	const fin = `{"target":"A","fault":"fin","parameters":{"for":"30s"}}`
	wantJSON(t, w.want(201, "POST", strikes, fin), fin)
	wantJSON(t, w.want(201, "POST", strikes,
		`{"target":"DPS","fault":"throttles","parameters":{"retry-after":"1m","count":"3"}}`),
		`{"target":"DPS","fault":"throttles","parameters":{"retry-after":"1m0s","count":"3"}}`)
	w.want(201, "POST", strikes, `{"target":"dev1","fault":"no-puback"}`)
	w.want(201, "POST", strikes, `{"target":"A","fault":"no-puback","parameters":null}`)
	wantJSON(t, w.want(200, "GET", strikes, ""), `{"strikes":[
		{"target":"DPS","fault":"throttles","parameters":{"retry-after":"1m0s","count":"3"}},
		{"target":"A","fault":"fin","parameters":{"for":"30s"}},{"target":"A","fault":"no-puback","parameters":{}},
		{"target":"dev1","fault":"no-puback","parameters":{}}]}`)

	w.want(204, "DELETE", strikes+"?target=A&fault=fin", "")
	w.want(204, "DELETE", strikes+"?target=A&fault=fin", "") // clearing a fault that is not active does nothing
	wantJSON(t, activeFaults(w), `["DPS throttles","A no-puback","dev1 no-puback"]`)
	w.want(204, "DELETE", strikes+"?fault=no-puback", "")
	wantJSON(t, activeFaults(w), `["DPS throttles"]`)
	w.want(201, "POST", strikes, `{"target":"B","fault":"rst"}`)
	w.want(201, "POST", strikes, `{"target":"B","fault":"reject"}`)
	w.want(204, "DELETE", strikes+"?target=B", "")
	wantJSON(t, activeFaults(w), `["DPS throttles"]`)
	w.want(201, "POST", strikes, `{"target":"B","fault":"rst"}`)
	w.want(204, "DELETE", strikes, "")
	wantJSON(t, activeFaults(w), `null`)
}

func activeFaults(w world) (all []string) {
	for _, s := range w.ActiveFaults() {
		all = append(all, s.Target+" "+string(s.Fault))
	}
	return all
}

// Faults of a device that has the name of a hub are injected and cleared with the target "device/" and
// its name. Clearing all faults clears them, too.
func TestFaultsOfADeviceWithAHubsNameAreInjectedAndCleared(t *testing.T) {
	w := onSockets(t)
	w.Assign("A", "A")
	w.want(201, "POST", strikes, `{"target":"device/A","fault":"reject"}`)
	w.want(201, "POST", strikes, `{"target":"A","fault":"reject"}`)
	wantJSON(t, activeFaults(w), `["A reject","device/A reject"]`)
	w.want(204, "DELETE", strikes+"?target=A", "")
	wantJSON(t, activeFaults(w), `["device/A reject"]`)
	w.want(204, "DELETE", strikes, "")
	wantJSON(t, activeFaults(w), `null`)
}

func TestAnImpossibleInjectionIsAnError(t *testing.T) {
	w := onSockets(t)
	w.Assign(device, "A")
	for body, part := range map[string]string{
		`{"target":"A","fault":"nope"}`: `no fault "nope"`,
		`{"target":"A"}`:                "name a target and a fault",
		`{"target":"","fault":"fin"}`:   "name a target and a fault",
		`{}`:                            "name a target and a fault",
		`{"target":"A","fault":"fin","parameters":{"for":"0s"}}`: `Parameter for: "0s" means the default; ` +
			`leave the parameter out, or give a duration such as 30s`,
		`{"target":"A","fault":"flaky","parameters":{"probability":"0"}}`:   "above 0, at most 1",
		`{"target":"A","fault":"slow","parameters":{"delay":"0s"}}`:         "means the default",
		`{"target":"DPS","fault":"throttles","parameters":{"count":"0"}}`:   "means the default",
		`{"target":"DPS","fault":"throttles","parameters":{"count":"-1"}}`:  "count is negative",
		`{"target":"A","fault":"slow","parameters":{"delay":"-1s"}}`:        "delay is negative",
		`{"target":"A","fault":"throttles"}`:                                "injected into DPS",
		`{"target":"A","fault":"fin","parameters":{"nope":"1"}}`:            `no parameter "nope"`,
		`{"target":"A","fault":"fin","parameters":{"for":"soon"}}`:          `"soon" is not a duration such as 30s`,
		`{"target":"A","fault":"fin","parameters":{"for":"-1s"}}`:           "for is negative",
		`{"target":"A","fault":"fin","parameters":{"mark":"x"}}`:            "no parameter mark",
		`{"target":"A","fault":"flaky"}`:                                    "needs the parameter probability",
		`{"target":"A","fault":"flaky","parameters":{"probability":"2"}}`:   "between 0 and 1",
		`{"target":"A","fault":"flaky","parameters":{"probability":"NaN"}}`: "between 0 and 1",
	} {
		w.wantError(400, "InvalidParameter", part, "POST", strikes, body)
	}
	for _, body := range []string{
		`{"target":"C","fault":"fin"}`, `{"target":"device/B","fault":"reject"}`,
	} {
		w.wantError(404, "NotFound", "nknown device", "POST", strikes, body)
	}
	for body, part := range map[string]string{
		`{"target":"A","fault":"fin","parameters":{"for":30}}`: "parameters", `{"target":5}`: "target",
		`{"targett":"A"}`:                         "targett",
		`{"target":"A","fault":"fin","for":"3s"}`: `"for"`,
	} {
		w.wantError(400, "InvalidBody", part, "POST", strikes, body)
	}
	wantJSON(t, activeFaults(w), `null`)

	w.Inject("A", emulator.FIN, emulator.Params{})
	for query, part := range map[string]string{
		"?target=A%": "percent-encoded", "?target=A;fault=fin": "percent-encoded", "?%zz": "percent-encoded",
		"?targett=A": "targett", "?target=A&target=B": "target", "?x": "x",
		"?target=A&fault=nope": "nope", "?fault=nope": "nope", "?fault=": "no fault",
	} {
		w.wantError(400, "InvalidParameter", part, "DELETE", strikes+query, "")
	}
	w.wantError(404, "NotFound", "", "DELETE", strikes+"?target=C", "")
	w.wantError(404, "NotFound", "", "DELETE", strikes+"?target=", "")
	wantJSON(t, activeFaults(w), `["A fin"]`)
}

func TestAFaultThatCannotBeClearedIsAnError(t *testing.T) {
	// On some systems a hub that is down does not hold its port.
	giveUpPorts := emulator.Config{Listen: func(address string) (net.Listener, error) {
		l, err := listen(address)
		return struct{ net.Listener }{l}, err
	}}
	w := newWorld(t, giveUpPorts, new(net.Dialer).DialContext)
	w.want(201, "POST", strikes, `{"target":"A","fault":"fin"}`)
	taken, err := listen(w.Hub("A"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	w.want(201, "POST", strikes, `{"target":"B","fault":"fin"}`)
	got := w.do(w.request("DELETE", strikes, ""))
	got.wantError(t, 400, "InvalidParameter", "A")
	if strings.Contains(got.text, "emulator:") {
		t.Errorf("it says %s", got.text)
	}
	wantJSON(t, activeFaults(w), `["A fin"]`) // the fault of B is cleared although A's is not
}
