//go:build nolab

package main

import "github.com/spf13/cobra"

// Without the lab there is no demo to name.
const demoHint, demoLine = "", ""

// addLab adds nothing: this build contains the device only.
func addLab(*cobra.Command) {}
