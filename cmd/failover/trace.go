package main

import (
	"github.com/spf13/cobra"

	"giantlizard.example/failover/observe"
)

func traceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "trace [file]", Short: "Print a JSON log as the path of states it tells of", GroupID: "read", Args: cobra.MaximumNArgs(1),
		Long: "trace reads the log of `failover run --log-format json`, from a file or standard input, and prints the path of states.\n" +
			"What journald, Docker or Kubernetes put before or around a line is left out.",
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
