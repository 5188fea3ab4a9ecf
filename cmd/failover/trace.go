package main

import (
	"github.com/spf13/cobra"

	"giantlizard.example/failover/observe"
)

func traceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "trace [file]", Short: "Print the path of states from a JSON log", GroupID: "read",
		Args: cobra.MaximumNArgs(1),
		Long: "trace reads the log of `failover run --log-format json` from a file or from standard input, and\n" +
			"prints the path of states. It ignores what journald, Docker or Kubernetes add to each line.",
		RunE: func(c *cobra.Command, args []string) error {
			name := "-"
			if len(args) == 1 {
				name = args[0]
			}
			in, err := openInput(name, c.InOrStdin())
			if err != nil {
				return err
			}
			defer in.Close()
			return observe.Trace(in, c.OutOrStdout())
		},
	}
}
