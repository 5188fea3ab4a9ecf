//go:build !nolab

package main

import (
	"bytes"
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
		"manual-failover moves a device to another hub of its application, as if its own hub had failed,\n"+
			"and prints the identifier of the hub that the device leaves. The application moves the device back\n"+
			"after a time that the answer names.\n",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Failover(ctx, a.deviceID, a.ttl)
		})
	a.checkMore = func(c *cobra.Command) error {
		if (c.Flags().Changed("ttl-minutes") || c.Flags().Changed("ttl")) && a.ttl < 1 {
			return fmt.Errorf("--ttl-minutes is %d: it must be at least 1", a.ttl)
		}
		return nil
	}
	c.Flags().IntVar(&a.ttl, "ttl-minutes", 0,
		"`minutes` until the device moves back (default: what the application chooses, 5 or 30)")
	alias(c.Flags(), "ttl", "ttl-minutes")
	return c
}

func manualFailback() *cobra.Command {
	a := &centralFlags{}
	return a.command("manual-failback", "Move a device back to its own hub at once",
		"manual-failback ends a manual-failover and prints the identifier of the hub that the device leaves.\n",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Failback(ctx, a.deviceID)
		})
}

func showDevice() *cobra.Command {
	a := &centralFlags{}
	return a.command("show", "Print what the application knows of a device", "",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Device(ctx, a.deviceID)
		})
}

func registrationInfo() *cobra.Command {
	a := &centralFlags{}
	return a.command("registration-info", "Print what the application and DPS know of a device",
		"registration-info asks the application for the device. If the device is provisioned, it also asks\n"+
			"DPS, with the device's own key, which it gets from the application and does not print. With an\n"+
			"emulator it does not ask DPS.\n",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Registration(ctx, a.deviceID)
		})
}

func showTwin() *cobra.Command {
	a := &centralFlags{}
	c := a.command("show", "Print the properties of a device, of a component or of a module", "",
		func(ctx context.Context, client *central.Client) (any, error) {
			return client.Properties(ctx, a.deviceID, a.part)
		})
	a.registerPart(c.Flags())
	return c
}

func runDeviceCommand() *cobra.Command {
	a := &centralFlags{}
	var content []byte
	c := a.command("run", "Run a command on a device and print the answer",
		"run calls a command of a device. The content is a JSON object with the command's argument as "+
			"\"request\", such as\n"+
			"'{\"request\":true}'.\n",
		func(ctx context.Context, client *central.Client) (any, error) {
			if a.interfaceID != "" {
				isComponent, err := client.HasComponent(ctx, a.deviceID, a.interfaceID)
				if err != nil {
					return nil, err
				}
				if isComponent {
					a.part.Component = a.interfaceID
				}
			}
			return client.Run(ctx, a.deviceID, a.part, a.name, content)
		})
	a.checkMore = func(c *cobra.Command) (err error) {
		if a.name == "" {
			return errors.New("--command-name (--cn) is missing: give the name of the command in the device template")
		}
		content, err = readContent(c.InOrStdin(), a.content)
		return err
	}
	f := c.Flags()
	f.StringVar(&a.name, "command-name", "", "`name` of the command; --cn for short")
	f.StringVarP(&a.content, "content", "k", "{}",
		"the request: `JSON`, a file with it as a path or as @path, or @- for standard input")
	f.StringVarP(&a.interfaceID, "interface-id", "i", "",
		"`name` of a component, or of an interface of the device itself, in the device template")
	alias(f, "cn", "command-name")
	a.registerPart(f)
	return c
}

// registerPart adds the flags for a part of a device.
func (a *centralFlags) registerPart(f *pflag.FlagSet) {
	f.StringVar(&a.part.Component, "component-name", "", "`name` of a component; --co for short")
	f.StringVar(&a.part.Module, "module-name", "", "`name` of a module; --mn for short")
	alias(f, "co", "component-name")
	alias(f, "mn", "module-name")
}

// alias adds az's short name for a flag, which the help does not list.
func alias(f *pflag.FlagSet, short, long string) {
	flag := *f.Lookup(long)
	flag.Name, flag.Shorthand, flag.Hidden = short, "", true
	f.AddFlag(&flag)
}

// readContent returns the content of a command, which is JSON or names a file with JSON.
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
		return nil, errors.New(`--content is not JSON and does not name a file: ` +
			`give JSON such as {"request":true}, quoted for your shell, or @file`)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		return nil, errorWithoutKeys(fmt.Errorf(`--content is not a JSON object: IoT Central wants the argument of `+
			`the command as "request"; give %s, quoted for your shell`, asRequest(content)))
	}
	return content, nil
}

// asRequest returns the content that somebody wanted who gave the argument of a command alone.
func asRequest(argument []byte) string {
	const longestShown = 100
	var compact bytes.Buffer
	if len(argument) > longestShown || json.Compact(&compact, argument) != nil {
		return `{"request":…}`
	}
	return `{"request":` + compact.String() + "}"
}

const contentLimit = 1 << 20 // bytes; more than IoT Central accepts
