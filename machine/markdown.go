package machine

import (
	"fmt"
	"strings"

	"github.com/looplab/fsm"
)

const title = "# The states\n\n"

// Markdown returns docs/states.md, the document of a device's states without any states that a program has
// added.
func Markdown() (string, error) {
	text, err := new(life).table().Markdown()
	return strings.Replace(text, title,
		title+"Written by `go generate ./machine` from the table in `machine/table.go`; do not edit.\n\n", 1), err
}

// Mermaid returns the table as a Mermaid state diagram, drawn by looplab/fsm. If NewMachine would refuse the
// table, Mermaid returns an error.
func (t Table) Mermaid() (string, error) {
	m, err := NewMachine(t, Hooks{})
	if err != nil {
		return "", err
	}
	diagram, err := fsm.VisualizeForMermaidWithGraphType(m.fsm, fsm.StateDiagram)
	if err != nil {
		return "", fmt.Errorf("machine: draw the diagram: %w", err)
	}
	return diagram, nil
}

// Markdown returns the table as a document: the Mermaid diagram, a sentence for each state, and every row. If
// NewMachine would refuse the table, Markdown returns an error.
func (t Table) Markdown() (string, error) {
	diagram, err := t.Mermaid()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(title)
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
