package machine_test

import (
	"os"
	"testing"

	"giantlizard.example/failover/machine"
)

func TestTheStatesDocumentIsTheTable(t *testing.T) {
	want, err := machine.Markdown()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/states.md is stale: go generate ./machine")
	}
}
