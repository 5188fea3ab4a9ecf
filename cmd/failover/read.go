package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"giantlizard.example/failover/machine"
	"giantlizard.example/failover/observe"
)

func statesCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "states", Short: "Print the states, the diagram and every row of the table, as Markdown", GroupID: "read", Args: cobra.NoArgs,
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

func traceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "trace [file]", Short: "Print a JSON log as the path of states it tells of", GroupID: "read", Args: cobra.MaximumNArgs(1),
		Long: "trace reads the log of `failover run --log-format json`, from a file or standard input, and prints the path of states.",
		RunE: func(c *cobra.Command, args []string) error {
			in := c.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			return observe.Trace(in, c.OutOrStdout())
		},
	}
}

func manCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the manual pages into a directory", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return doc.GenManTree(root, nil, args[0]) },
	}
}
