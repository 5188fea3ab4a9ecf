//go:build !nolab

package main

import "github.com/spf13/cobra"

const (
	toTry = "to try failover without Azure, run: failover demo"
	toSee = "\nTo see it: failover demo"
)

// addLab adds what a field device has no use for; `-tags nolab` leaves it out.
func addLab(root *cobra.Command) {
	root.AddGroup(&cobra.Group{ID: "lab", Title: "The lab:"})
	root.AddCommand(demoCommand(), emulatorCommand(), scenarioCommand(), drillCommand(), lizardCommand(), centralCommand())
}
