package machine

import (
	"fmt"
	"strings"

	"github.com/looplab/fsm"
)

// Markdown is the table as a document: looplab's Mermaid diagram, a sentence for each state, and every row.
func (t Table) Markdown() (string, error) {
	m, err := NewMachine(t, Hooks{})
	if err != nil {
		return "", err
	}
	diagram, err := fsm.VisualizeForMermaidWithGraphType(m.fsm, fsm.StateDiagram)
	if err != nil {
		return "", fmt.Errorf("machine: draw the diagram: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The states\n\nWritten by `go generate ./machine` from the table in `machine/table.go`; do not edit.\n\n")
	fmt.Fprintf(&b, "```mermaid\n%s```\n\n", diagram)
	fmt.Fprintf(&b, "| State | What it does |\n|---|---|\n")
	for _, s := range t.States {
		fmt.Fprintf(&b, "| %s | %s |\n", s.Name, s.Doc)
	}
	fmt.Fprintf(&b, "\n| From | Event | To | When |\n|---|---|---|---|\n")
	for _, r := range t.Rows {
		from := string(r.From)
		if r.From == Any {
			from = "any"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", from, r.On, r.To, r.Doc)
	}
	return b.String(), nil
}
