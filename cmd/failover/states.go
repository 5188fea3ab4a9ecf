package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/machine"
)

func statesCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "states", Short: "Print the states, the diagram and every row of the transition table, as Markdown",
		GroupID: "read", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			text, err := machine.Markdown()
			if err != nil {
				return err
			}
			if output != "" {
				return os.WriteFile(output, []byte(text), 0o644)
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().StringVar(&output, "output", "", "write to this `file` instead of standard output")
	return c
}
