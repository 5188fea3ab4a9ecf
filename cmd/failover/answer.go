//go:build !nolab

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// printAnswer prints a value as az does: as JSON with sorted members, or as a table with one row
// per member.
func printAnswer(out io.Writer, format string, answer any) error {
	if answer == nil {
		answer = map[string]string{"result": "success"}
	}
	if format == "json" {
		return encode(out, "  ", answer)
	}
	var text bytes.Buffer
	if err := encode(&text, "", answer); err != nil {
		return err
	}
	var plain any
	decoder := json.NewDecoder(&text)
	decoder.UseNumber()
	if err := decoder.Decode(&plain); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	writeRows(table, "", plain)
	return table.Flush()
}

func encode(out io.Writer, indent string, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	return encoder.Encode(v)
}

// writeRows writes one row for each member of an object, with nested members under dotted names.
func writeRows(table io.Writer, name string, v any) {
	object, ok := v.(map[string]any)
	if !ok || len(object) == 0 && name != "" {
		fmt.Fprintf(table, "%s\t%s\n", escaped(name), escaped(cell(v)))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if name == "" {
			writeRows(table, key, object[key])
		} else {
			writeRows(table, name+"."+key, object[key])
		}
	}
}

// cell returns the text of a value in a table: a string unchanged, any other value as JSON.
func cell(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	var text bytes.Buffer
	if encode(&text, "", v) != nil {
		return ""
	}
	return strings.TrimSpace(text.String())
}
