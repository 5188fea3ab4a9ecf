//go:build !nolab

package main

import "github.com/spf13/cobra"

const (
	demoHint = "to try failover without Azure, run: failover demo"
	demoLine = "\nTo see it work, run: failover demo"
)

// addLab adds the commands that a device in the field does not need. The build tag nolab leaves
// them out.
func addLab(root *cobra.Command) {
	root.AddGroup(&cobra.Group{ID: "lab", Title: "Lab commands:"})
	root.AddCommand(demoCommand(), emulatorCommand(), scenarioCommand(), drillCommand(), fleetCommand(),
		lizardCommand(),
		centralCommand())
}
