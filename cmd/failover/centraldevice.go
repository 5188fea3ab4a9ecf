//go:build !nolab

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"giantlizard.example/failover/lab/central"
	"giantlizard.example/failover/textfile"
)

func manualFailover() *cobra.Command {
	a := &centralFlags{}
	c := a.command("manual-failover", "Move a device to another hub for some minutes",
		"manual-failover moves a device to another hub of its application, as if the lizard had been at its own, and prints the\n"+
			"identifier of the hub that it leaves. It comes back by itself; the message says when.\n",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Failover(ctx, a.deviceID, a.ttl)
		})
	a.also = func(c *cobra.Command) error {
		if (c.Flags().Changed("ttl-minutes") || c.Flags().Changed("ttl")) && a.ttl < 1 {
			return fmt.Errorf("--ttl-minutes is %d: it is 1 or more", a.ttl)
		}
		return nil
	}
	c.Flags().IntVar(&a.ttl, "ttl-minutes", 0, "`minutes` until it comes back; without it, as the application likes: five or thirty")
	alias(c.Flags(), "ttl", "ttl-minutes")
	return c
}

func manualFailback() *cobra.Command {
	a := &centralFlags{}
	return a.command("manual-failback", "Move a device back to its own hub before the time",
		"manual-failback ends a manual-failover, and prints the identifier of the hub to which that had moved the device.\n",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Failback(ctx, a.deviceID)
		})
}

func showDevice() *cobra.Command {
	a := &centralFlags{}
	return a.command("show", "Print what the application says of a device", "",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Device(ctx, a.deviceID)
		})
}

func registrationInfo() *cobra.Command {
	a := &centralFlags{}
	return a.command("registration-info", "Print what the application and DPS say of a device",
		"registration-info asks the application for the device and, if it is provisioned, DPS with the device's own key, which it\n"+
			"gets from the application and shows to nobody. Of an emulator it asks no DPS.\n",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Registration(ctx, a.deviceID)
		})
}

func showTwin() *cobra.Command {
	a := &centralFlags{}
	c := a.command("show", "Print the properties of a device, or of a part of it", "",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Properties(ctx, a.deviceID, a.part)
		})
	a.parts(c.Flags())
	return c
}

func runDeviceCommand() *cobra.Command {
	a := &centralFlags{}
	var content []byte
	c := a.command("run", "Run a command on a device, and print its answer",
		"run calls a command of a device. The content is JSON with the command's argument as \"request\": '{\"request\":true}'.\n",
		func(ctx context.Context, client *central.Client) (any, error) {
			if a.interfaceID != "" {
				is, err := client.HasComponent(ctx, a.deviceID, a.interfaceID)
				if err != nil {
					return nil, err
				}
				if is {
					a.part.Component = a.interfaceID
				}
			}
			return client.Run(ctx, a.deviceID, a.part, a.name, content)
		})
	a.also = func(c *cobra.Command) (err error) {
		if a.name == "" {
			return errors.New("--command-name (--cn) is missing: the name that the device's template gives the command")
		}
		content, err = readContent(c.InOrStdin(), a.content)
		return err
	}
	f := c.Flags()
	f.StringVar(&a.name, "command-name", "", "`name` of the command; --cn for short")
	f.StringVarP(&a.content, "content", "k", "{}", "the request, as `JSON`; a file with it, as a path or @path; @- for standard input")
	f.StringVarP(&a.interfaceID, "interface-id", "i", "", "`name` of a component, or of an interface of the device itself, as its template has it")
	alias(f, "cn", "command-name")
	a.parts(f)
	return c
}

func (a *centralFlags) parts(f *pflag.FlagSet) {
	f.StringVar(&a.part.Component, "component-name", "", "`name` of a component; --co for short")
	f.StringVar(&a.part.Module, "module-name", "", "`name` of a module; --mn for short")
	alias(f, "co", "component-name")
	alias(f, "mn", "module-name")
}

// alias gives a flag the short name that az has for it.
func alias(f *pflag.FlagSet, short, long string) {
	flag := *f.Lookup(long)
	flag.Name, flag.Shorthand, flag.Hidden = short, "", true
	f.AddFlag(&flag)
}

// readContent is the content of a command: JSON, or what a file holds.
func readContent(stdin io.Reader, text string) ([]byte, error) {
	content := []byte(text)
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile && !json.Valid(content) {
		_, err := os.Stat(text)
		isFile = err == nil
	}
	switch {
	case text == "@-":
		var err error
		if content, err = textfile.ReadAll("standard input", stdin, contentLimit); err != nil {
			return nil, fmt.Errorf("--content: %w", err)
		}
	case isFile:
		var err error
		if content, err = textfile.Read(name, contentLimit); err != nil {
			return nil, fmt.Errorf("--content: %w", hideToken(name, err))
		}
	}
	if !json.Valid(content) {
		return nil, errors.New(`--content is no JSON, and names no file: it is such as {"request":true}, in quotes as your shell wants them, or @file`)
	}
	return content, nil
}

// contentLimit is more than a command may have.
const contentLimit = 1 << 20
