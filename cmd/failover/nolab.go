//go:build nolab

package main

import "github.com/spf13/cobra"

// The help and the errors do not name the demo, because this build has no demo.
const demoHint, demoLine = "", ""

// addLab adds nothing: this build contains the device only.
func addLab(*cobra.Command) {}
