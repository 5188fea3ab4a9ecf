//go:build nolab

package main

import "github.com/spf13/cobra"

// Without the lab nothing can be tried or seen.
const toTry, toSee = "", ""

// addLab adds nothing: this build is the device alone.
func addLab(*cobra.Command) {}
