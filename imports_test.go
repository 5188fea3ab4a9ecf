// Package failover_test holds the rules between the rooms.
package failover_test

import (
	"go/build"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "giantlizard.example/failover/"

// allowed says which rooms of ours a room may import: cmd -> lab -> machine -> hub -> outbox, provisioning ->
// transport -> payloads, with observe, settings, statefile and textfile at the bottom, so that every room can be read
// without those above it.
var allowed = map[string][]string{
	"payloads":     {},
	"observe":      {},
	"statefile":    {"settings"},
	"textfile":     {},
	"settings":     {},
	"transport":    {"payloads", "settings", "textfile"},
	"provisioning": {"transport", "payloads", "settings", "statefile"},
	"policy":       {"provisioning", "settings", "transport"},
	"outbox":       {"payloads", "settings", "statefile"},
	"ledger":       {"outbox"},
	"hub":          {"outbox", "transport", "payloads", "observe", "settings", "statefile"},
	"machine": {
		"hub", "outbox", "policy", "provisioning", "transport", "payloads", "observe", "settings", "statefile",
	},
	"sensor":     {"machine", "outbox"},
	"lab/memnet": {},
	"lab/slow":   {},
	// The emulator is a second opinion about the wire: it shares no line with the device.
	"lab/emulator": {},
	"lab/control":  {"lab/emulator"},
	"lab/service":  {"lab/emulator"},
	"lab/interop":  {},
	"lab/demo":     {"lab/emulator", "machine", "observe", "sensor", "transport"},
	// It judges the emulator's door from outside.
	"lab/central":  {"textfile"},
	"lab/scenario": {"lab/emulator", "textfile"},
	"lab/fleet":    {"lab/emulator", "policy", "provisioning", "transport"},
	"lab/drill":    {"lab/emulator", "lab/scenario", "machine", "sensor", "transport"},
	"cmd/failover": {
		"lab/central", "lab/control", "lab/demo", "lab/drill", "lab/emulator", "lab/fleet", "lab/scenario",
		"lab/service", "machine", "hub",
		"ledger",
		"observe", "outbox", "payloads", "provisioning", "sensor", "settings", "statefile", "textfile", "transport",
	},
}

// owners are the rooms that may import a library; what is not here may be imported by nobody.
var owners = map[string][]string{
	"github.com/looplab/fsm":              {"machine"},      // the table is the machine's; nobody else moves it
	"github.com/eclipse/paho.mqtt.golang": {"transport"},    // its traps are met in one place
	"github.com/rs/zerolog":               {"observe"},      // libraries return, observers print
	"github.com/mochi-mqtt/server/v2":     {"lab/emulator"}, // no broker on a field device
	"software.sslmate.com/src/go-pkcs12":  {"lab/emulator"}, // Java's form of the authority
	"github.com/spf13/cobra":              {"cmd/failover"},
	"github.com/spf13/pflag":              {"cmd/failover"},
	"github.com/joho/godotenv":            {"cmd/failover"},
	"github.com/gofrs/flock":              {"statefile"},
	"golang.org/x/sync":                   {"hub"},
	"golang.org/x/sys":                    {"machine"}, // clocks of the system that package time does not read
}

func TestImportsPointOneWay(t *testing.T) {
	for room, rooms := range allowed {
		pkg, err := build.Default.ImportDir(room, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range pkg.Imports {
			if ours, ok := strings.CutPrefix(path, module); ok {
				if !slices.Contains(rooms, ours) {
					t.Errorf("%s imports %s", room, ours)
				}
			} else if strings.Contains(path, ".") && !ownedBy(path, room) {
				t.Errorf("%s imports %s", room, path)
			}
		}
	}
}

// leakless are the rooms whose tests need not look for goroutines that were left behind, and why.
var leakless = map[string]string{
	"":         "these tests wait for the go command and start nothing else",
	"payloads": "there is no go statement in the room, and none in its tests",
	"settings": "there is no go statement in the room, and none in its tests",
}

func TestEveryTestIsALeakTest(t *testing.T) {
	const format = "{{.ImportPath}} {{join .TestImports \",\"}},{{join .XTestImports \",\"}}"
	for line := range strings.Lines(output(t, "-f", format, "./...")) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		room := strings.Trim(strings.TrimPrefix(pkg+"/", module), "/")
		names := strings.Split(imports, ",")
		if slices.Contains(names, "testing") && !slices.Contains(names, "go.uber.org/goleak") && leakless[room] == "" {
			t.Errorf("the tests of %q do not look for leaks", room)
		}
	}
}

func ownedBy(path, room string) bool {
	for library, rooms := range owners {
		if path == library || strings.HasPrefix(path, library+"/") {
			return slices.Contains(rooms, room)
		}
	}
	return false
}

func TestEveryRoomHasItsRule(t *testing.T) {
	for _, pkg := range list(t, "-f", "{{.ImportPath}}", "./...") {
		room, ok := strings.CutPrefix(pkg, module)
		if _, known := allowed[room]; ok && !known && !strings.HasPrefix(room, "examples/") {
			t.Errorf("%s has no rule in imports_test.go and, perhaps, no sentence in the README", room)
		}
	}
}

// A field device carries no broker and no way to inject faults.
func TestWithoutTheLabNothingOfItIsBuilt(t *testing.T) {
	deps := list(t, "-tags", "nolab", "-deps", "./cmd/failover")
	if !slices.Contains(deps, module+"machine") {
		t.Fatalf("this is not the device: %q", deps)
	}
	for _, dep := range deps {
		if strings.HasPrefix(dep, module+"lab") || strings.HasPrefix(dep, "github.com/mochi-mqtt") || dep == "testing" {
			t.Errorf("the device's build holds %s", dep)
		}
	}
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	return strings.Fields(output(t, args...))
}

// output is what go list says.
func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return string(out)
}
