package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/statefile"
)

// stateFlags are the flags of the commands that look at a state directory.
type stateFlags struct{ stateDir, deviceID, format string }

func (f *stateFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.stateDir, "state-dir", "",
		"state `directory` of the device (default ~/.local/state/failover/<device ID>)")
	flags.StringVar(&f.deviceID, "device-id", "", "registration `ID` of the device, instead of --state-dir")
	flags.StringVarP(&f.format, "output", "o", "table", "table or json")
}

// dir returns the state directory.
func (f *stateFlags) dir(c *cobra.Command) (string, error) {
	if f.format != "table" && f.format != "json" {
		return "", usage(fmt.Errorf("--output is %q: it must be table or json", f.format))
	}
	cfg := newConfig()
	if err := cfg.read(c.Flags()); err != nil {
		return "", usage(err)
	}
	cfg.printWarnings()
	switch {
	case f.stateDir != "":
		return f.stateDir, nil
	case f.deviceID == "":
		return "", usage(errors.New("the device is missing: give --state-dir or --device-id"))
	}
	return stateDirectory(f.deviceID)
}

func (f *stateFlags) snapshot(c *cobra.Command) (*outbox.Snapshot, error) {
	dir, err := f.dir(c)
	if err != nil {
		return nil, err
	}
	s, err := outbox.Read(filepath.Join(dir, "outbox"))
	if err == nil && s.Epoch == "" {
		err = noOutbox(dir)
	}
	return s, err
}

func noOutbox(dir string) error {
	return fmt.Errorf("%s contains no outbox: no device has kept readings there", dir)
}

func outboxCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "outbox", Short: "Inspect the pending readings in a state directory", GroupID: "device",
		Args: cobra.NoArgs,
		Long: "outbox shows the pending and quarantined readings in a device's state directory. list, verify and\n" +
			"export only read, and may run while the device runs.",
	}
	c.AddCommand(listCommand(), verifyCommand(), exportCommand(), requeueCommand())
	return c
}

// A keptReading is one reading as list and export show it.
type keptReading struct {
	ID          string            `json:"id"`
	State       string            `json:"state"` // "waiting" for a pending reading, or "quarantined"
	Time        time.Time         `json:"time"`
	Component   string            `json:"component,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	Body        json.RawMessage   `json:"body,omitempty"`
	Bytes       int               `json:"bytes"`
	Quarantined string            `json:"quarantined,omitempty"` // the reason for the quarantine
}

// forEachReading calls do for every reading, one at a time, because there may be millions. It skips
// a quarantined reading that cannot be read, and returns its error at the end.
func forEachReading(s *outbox.Snapshot, do func(keptReading) error) error {
	var unreadable []error
	for q, err := range s.Quarantined() {
		if err != nil {
			unreadable = append(unreadable, err)
			continue
		}
		r := newKeptReading(q.Reading, "quarantined")
		r.Quarantined = q.Why
		if err := do(r); err != nil {
			return err
		}
	}
	for r := range s.Pending() {
		if err := do(newKeptReading(r, "waiting")); err != nil {
			return err
		}
	}
	return errors.Join(unreadable...)
}

func newKeptReading(kept outbox.Reading, state string) keptReading {
	r := kept.Reading
	return keptReading{
		ID: kept.ID.String(), State: state, Time: r.Taken.UTC(), Component: r.Component, Properties: r.Properties,
		Body: r.Body, Bytes: len(r.Body),
	}
}

func listCommand() *cobra.Command {
	var f stateFlags
	c := &cobra.Command{
		Use: "list", Short: "List the pending and the quarantined readings", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := f.snapshot(c)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(c.OutOrStdout())
			if f.format == "json" {
				encoder := json.NewEncoder(out)
				err = forEachReading(s, func(r keptReading) error { r.Body = nil; return encoder.Encode(r) })
			} else {
				err = printTable(s, out)
			}
			return errors.Join(err, out.Flush())
		},
	}
	f.register(c)
	return c
}

// printTable prints readings in columns of fixed width, because text/tabwriter would hold all of
// them in memory.
func printTable(s *outbox.Snapshot, out io.Writer) error {
	id := len(outbox.ID{Epoch: s.Epoch, N: s.Last}.String())
	row := func(cells ...any) error {
		line := fmt.Sprintf("%-*s  %-11s  %-20s  %-7v  %s", append([]any{id}, cells...)...)
		_, err := fmt.Fprintln(out, strings.TrimRight(line, " "))
		return err
	}
	if err := row("ID", "STATE", "TAKEN", "BYTES", "WHY"); err != nil {
		return err
	}
	return forEachReading(s, func(r keptReading) error {
		return row(escaped(r.ID), r.State, r.Time.Format(time.RFC3339), r.Bytes, escaped(r.Quarantined))
	})
}

func exportCommand() *cobra.Command {
	var f stateFlags
	c := &cobra.Command{
		Use: "export", Short: "Print the pending and the quarantined readings as JSON lines", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.format == "table" {
				return usage(errors.New("--output is table: export prints JSON lines only; outbox list prints a table"))
			}
			s, err := f.snapshot(c)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(c.OutOrStdout())
			encoder := json.NewEncoder(out)
			encoder.SetEscapeHTML(false)
			err = forEachReading(s, func(r keptReading) error { return encoder.Encode(r) })
			return errors.Join(err, out.Flush())
		},
	}
	f.register(c)
	output := c.Flags().Lookup("output")
	output.Usage, output.DefValue, f.format = "json", "json", "json"
	return c
}

// An audit is the result of the command outbox verify.
type audit struct {
	Epoch       string   `json:"epoch"`
	Last        uint64   `json:"last"`
	Waiting     int      `json:"waiting"`
	Bytes       int      `json:"bytes"`
	Quarantined int      `json:"quarantined"`
	Dropped     []string `json:"dropped"`
	Damage      []string `json:"damage"`
}

func verifyCommand() *cobra.Command {
	var f stateFlags
	c := &cobra.Command{
		Use: "verify", Short: "Check every file of the outbox for damage", Args: cobra.NoArgs,
		Long: "verify reads and checks every record. The exit code is 1 if something is damaged.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := f.snapshot(c)
			if err != nil {
				return err
			}
			a := newAudit(s)
			if err := a.print(c.OutOrStdout(), f.format); err != nil {
				return err
			}
			if len(a.Damage) > 0 {
				return fmt.Errorf("%d files are damaged; the device will still send the readings that could be read",
					len(a.Damage))
			}
			return nil
		},
	}
	f.register(c)
	return c
}

func newAudit(s *outbox.Snapshot) audit {
	a := audit{
		Epoch: s.Epoch, Last: s.Last, Waiting: s.Readings, Bytes: s.Bytes, Dropped: []string{}, Damage: []string{},
	}
	for _, d := range s.Dropped {
		a.Dropped = append(a.Dropped, d.IDs()+" ("+string(d.Reason())+")")
	}
	for _, f := range s.Forgotten {
		highest := outbox.ID{Epoch: s.Epoch, N: f.Highest}
		a.Dropped = append(a.Dropped, fmt.Sprintf("%d more, up to %s (%s)", f.Count, highest, f.Why))
	}
	for _, d := range s.Damages {
		a.Damage = append(a.Damage, d.Error())
	}
	for _, err := range s.Quarantined() {
		if err != nil {
			a.Damage = append(a.Damage, err.Error())
		} else {
			a.Quarantined++
		}
	}
	return a
}

func (a audit) print(out io.Writer, format string) error {
	if format == "json" {
		return json.NewEncoder(out).Encode(a)
	}
	_, err := fmt.Fprintf(out, "Epoch %s: %d readings accepted, %d pending (%d bytes), %d quarantined.\n",
		escaped(a.Epoch), a.Last, a.Waiting, a.Bytes, a.Quarantined)
	for _, text := range a.Dropped {
		fmt.Fprintln(out, escaped("dropped: "+text))
	}
	for _, text := range a.Damage {
		fmt.Fprintln(out, escaped("damaged: "+text))
	}
	return err
}

func requeueCommand() *cobra.Command {
	var f stateFlags
	c := &cobra.Command{
		Use: "requeue ID...", Short: "Send quarantined readings again", Args: cobra.MinimumNArgs(1),
		Long: "requeue moves quarantined readings back into the queue. They get new IDs; the property\n" +
			outbox.RequeuedProperty + " holds the old one. The device must not be running.",
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := f.dir(c)
			if err != nil {
				return err
			}
			ids, err := parseIDs(args)
			if err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Join(dir, "outbox")); err != nil { // Acquire would make the directory
				return fmt.Errorf("%w: %w", noOutbox(dir), err)
			}
			state := statefile.NewDir(dir, nil, nil)
			if err := state.Acquire(); err != nil {
				return fmt.Errorf("%w; stop the device first", err)
			}
			defer state.Close()
			box, err := outbox.Open(filepath.Join(dir, "outbox"), outbox.Options{
				Owner: state,
				// The device applies its own limits. DropNewest makes Requeue fail on a full disk, so
				// that no reading is dropped.
				Limits: outbox.Limits{Readings: math.MaxInt, Bytes: math.MaxInt, Full: outbox.DropNewest},
				Warn:   func(err error) { fmt.Fprintln(c.ErrOrStderr(), escapedError(err)) },
			})
			if errors.Is(err, statefile.ErrLocked) {
				err = fmt.Errorf("%w; stop the device first", err)
			}
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err = f.requeue(c, box, id); err != nil {
					break
				}
			}
			return errors.Join(err, box.Close())
		},
	}
	f.register(c)
	return c
}

func (f *stateFlags) requeue(c *cobra.Command, box *outbox.Log, id outbox.ID) error {
	fresh, err := box.Requeue(c.Context(), id)
	if err != nil {
		return err
	}
	if f.format == "json" {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"quarantined": id.String(),
			"id": fresh.String()})
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), escaped(id.String()+" -> "+fresh.String()))
	return err
}

func parseIDs(texts []string) (ids []outbox.ID, err error) {
	for _, text := range texts {
		epoch, number, ok := strings.Cut(text, "-")
		n, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil || strings.ContainsAny(epoch, `/\.`) {
			return nil, usage(fmt.Errorf("%.80q is not the ID of a reading, such as 8f3a1c02-17", text))
		}
		ids = append(ids, outbox.ID{Epoch: epoch, N: n})
	}
	return ids, nil
}
