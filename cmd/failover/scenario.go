//go:build !nolab

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/lab/scenario"
)

func scenarioCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "scenario", Short: "List, show and check scenarios: timelines of faults", GroupID: "lab",
		Args: cobra.NoArgs,
		Long: "scenario lists and shows the scenarios of the library and checks your own. docs/scenarios.md\n" +
			"describes the format.",
	}
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "List the scenarios of the library", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, s := range scenario.Library() {
				fmt.Fprintf(c.OutOrStdout(), "%-22s %8s  %s\n", s.Name, s.End, s.Sentence)
			}
			return nil
		},
	}, showScenario(), &cobra.Command{
		Use: "check FILE...", Short: "Check scenarios in files", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			var errs []error
			for _, file := range files {
				_, err := scenario.Load(file)
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		},
	})
	return c
}

func showScenario() *cobra.Command {
	var steps bool
	c := &cobra.Command{
		Use: "show NAME|FILE", Short: "Print a scenario", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := scenario.Load(args[0])
			if err != nil {
				return err
			}
			if !steps {
				fmt.Fprint(c.OutOrStdout(), s)
				return nil
			}
			for _, step := range s.Steps() {
				fmt.Fprintf(c.OutOrStdout(), "%8s  %s\n", step.At.Truncate(100*time.Millisecond), step)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&steps, "steps", false, "print every step with its time, the random ones too")
	return c
}
