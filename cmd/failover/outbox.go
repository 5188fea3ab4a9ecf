package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/statefile"
)

// stateFlags are the flags of the commands that look at a state directory.
type stateFlags struct{ stateDir, deviceID, format string }

func (k *stateFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&k.stateDir, "state-dir", "", "`directory` of the device's state (default ~/.local/state/failover/<device ID>)")
	f.StringVar(&k.deviceID, "device-id", "", "registration `ID` of the device, in place of the directory")
	f.StringVarP(&k.format, "output", "o", "table", "table or json")
}

// dir is where the outbox is.
func (k *stateFlags) dir(c *cobra.Command) (string, error) {
	if k.format != "table" && k.format != "json" {
		return "", usage(fmt.Errorf("--output is %q: it is table or json", k.format))
	}
	s := settings{envFile: ".env"}
	if err := s.read(c.Flags()); err != nil {
		return "", usage(err)
	}
	s.printWarnings()
	s.stateDir, s.deviceID = k.stateDir, k.deviceID
	if s.stateDir == "" && s.deviceID == "" {
		return "", usage(errors.New("give --state-dir, or --device-id"))
	}
	return s.stateDirectory()
}

func (k *stateFlags) snapshot(c *cobra.Command) (*outbox.Snapshot, error) {
	dir, err := k.dir(c)
	if err != nil {
		return nil, err
	}
	s, err := outbox.Read(filepath.Join(dir, "outbox"))
	if err == nil && s.Epoch == "" {
		err = fmt.Errorf("no readings have been kept in %s", dir)
	}
	return s, err
}

func outboxCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "outbox", Short: "Look at the readings that wait in a state directory", GroupID: "device", Args: cobra.NoArgs,
		Long: "outbox shows what waits in a device's state directory. list, verify and export only read, and may run beside the device.",
	}
	c.AddCommand(listCommand(), verifyCommand(), exportCommand(), requeueCommand())
	return c
}

// A line is one reading as list and export show it.
type line struct {
	ID          string            `json:"id"`
	State       string            `json:"state"` // waiting or quarantined
	Time        time.Time         `json:"time"`
	Component   string            `json:"component,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	Body        json.RawMessage   `json:"body,omitempty"`
	Bytes       int               `json:"bytes"`
	Quarantined string            `json:"quarantined,omitempty"` // why
}

// lines calls each for every reading, one after another: there may be millions. It goes on behind a
// quarantined reading that cannot be read, and returns its error in the end.
func lines(s *outbox.Snapshot, each func(line) error) error {
	var unreadable []error
	for q, err := range s.Quarantined() {
		if err != nil {
			unreadable = append(unreadable, err)
			continue
		}
		l := exportedReading(q.Reading, "quarantined")
		l.Quarantined = q.Why
		if err := each(l); err != nil {
			return err
		}
	}
	for e := range s.Pending() {
		if err := each(exportedReading(e, "waiting")); err != nil {
			return err
		}
	}
	return errors.Join(unreadable...)
}

func exportedReading(e outbox.Reading, state string) line {
	r := e.Reading
	return line{
		ID: e.ID.String(), State: state, Time: r.Taken.UTC(), Component: r.Component, Properties: r.Properties,
		Body: r.Body, Bytes: len(r.Body),
	}
}

func listCommand() *cobra.Command {
	var k stateFlags
	c := &cobra.Command{
		Use: "list", Short: "List the readings that wait, and those in quarantine", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := k.snapshot(c)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(c.OutOrStdout())
			if k.format == "json" {
				encoder := json.NewEncoder(out)
				err = lines(s, func(l line) error { l.Body = nil; return encoder.Encode(l) })
			} else {
				err = table(s, out)
			}
			return errors.Join(err, out.Flush())
		},
	}
	k.register(c)
	return c
}

// table lists readings in columns whose widths are known before the first.
func table(s *outbox.Snapshot, out io.Writer) error {
	id := len(outbox.ID{Epoch: s.Epoch, N: s.Last}.String())
	row := func(cells ...any) error {
		line := fmt.Sprintf("%-*s  %-11s  %-20s  %-7v  %s", append([]any{id}, cells...)...)
		_, err := fmt.Fprintln(out, strings.TrimRight(line, " "))
		return err
	}
	if err := row("ID", "STATE", "TAKEN", "BYTES", "WHY"); err != nil {
		return err
	}
	return lines(s, func(l line) error {
		return row(escaped(l.ID), l.State, l.Time.Format(time.RFC3339), l.Bytes, escaped(l.Quarantined))
	})
}

func exportCommand() *cobra.Command {
	var k stateFlags
	c := &cobra.Command{
		Use: "export", Short: "Write the readings that wait, and those in quarantine, as JSON lines", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if k.format == "table" {
				return usage(errors.New("--output is table: export writes JSON lines; list has the table"))
			}
			s, err := k.snapshot(c)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(c.OutOrStdout())
			encoder := json.NewEncoder(out)
			encoder.SetEscapeHTML(false)
			err = lines(s, func(l line) error { return encoder.Encode(l) })
			return errors.Join(err, out.Flush())
		},
	}
	k.register(c)
	output := c.Flags().Lookup("output")
	output.Usage, output.DefValue, k.format = "json", "json", "json"
	return c
}

// An audit is what verify found.
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
	var k stateFlags
	c := &cobra.Command{
		Use: "verify", Short: "Read every record and say what is damaged", Args: cobra.NoArgs,
		Long: "verify reads every record and checks it. It exits with 1 when something is damaged.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := k.snapshot(c)
			if err != nil {
				return err
			}
			a := newAudit(s)
			if err := a.print(c.OutOrStdout(), k.format); err != nil {
				return err
			}
			if len(a.Damage) > 0 {
				return fmt.Errorf("%d files cannot be read whole; what could be read will still be sent", len(a.Damage))
			}
			return nil
		},
	}
	k.register(c)
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
		a.Dropped = append(a.Dropped, fmt.Sprintf("%d more, up to %s (%s)", f.Count, outbox.ID{Epoch: s.Epoch, N: f.Highest}, f.Why))
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
	_, err := fmt.Fprintf(out, "Epoch %s: %d readings taken, %d wait (%d bytes), %d in quarantine.\n", escaped(a.Epoch), a.Last, a.Waiting, a.Bytes, a.Quarantined)
	for _, l := range slices.Concat(prefixed("given up: ", a.Dropped), prefixed("damaged: ", a.Damage)) {
		fmt.Fprintln(out, escaped(l))
	}
	return err
}

func prefixed(prefix string, lines []string) (all []string) {
	for _, l := range lines {
		all = append(all, prefix+l)
	}
	return all
}

func requeueCommand() *cobra.Command {
	var k stateFlags
	c := &cobra.Command{
		Use: "requeue ID...", Short: "Put quarantined readings back into the queue", Args: cobra.MinimumNArgs(1),
		Long: "requeue puts readings from the quarantine back into the queue, under new IDs and with the old ones in the property\n" +
			outbox.RequeuedProperty + ". The device must not be running.",
		RunE: func(c *cobra.Command, ids []string) error {
			dir, err := k.dir(c)
			if err != nil {
				return err
			}
			state := statefile.NewDir(dir, nil, nil)
			if err := state.Acquire(); err != nil {
				return fmt.Errorf("%w; end the device first", err)
			}
			defer state.Close()
			box, err := outbox.Open(filepath.Join(dir, "outbox"), outbox.Options{
				Owner: state,
				// The device has bounds of its own. On a full disk nothing is given up for this.
				Limits: outbox.Limits{Readings: math.MaxInt, Bytes: math.MaxInt, Full: outbox.DropNewest},
				Warn:   func(err error) { fmt.Fprintln(c.ErrOrStderr(), escapedError(err)) }, // it may not be found again
			})
			if err != nil {
				return err
			}
			for _, text := range ids {
				if err = k.requeue(c, box, text); err != nil {
					break
				}
			}
			return errors.Join(err, box.Close())
		},
	}
	k.register(c)
	return c
}

func (k *stateFlags) requeue(c *cobra.Command, box *outbox.Log, text string) error {
	id, err := parseID(text)
	if err != nil {
		return err
	}
	fresh, err := box.Requeue(c.Context(), id)
	if err != nil {
		return err
	}
	if k.format == "json" {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"quarantined": text, "id": fresh.String()})
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), escaped(text+" -> "+fresh.String()))
	return err
}

func parseID(text string) (outbox.ID, error) {
	epoch, number, ok := strings.Cut(text, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || strings.ContainsAny(epoch, `/\.`) {
		return outbox.ID{}, usage(fmt.Errorf("%.80q is no ID such as 8f3a1c02-17", text))
	}
	return outbox.ID{Epoch: epoch, N: n}, nil
}
