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

// printAnswer prints a value as az does: as JSON with its members in order; or as a table, with a line for each member.
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
	members(table, "", plain)
	return table.Flush()
}

func encode(out io.Writer, indent string, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	return encoder.Encode(v)
}

// members writes a line for each member of an object, however deep.
func members(table io.Writer, name string, v any) {
	object, ok := v.(map[string]any)
	if !ok || len(object) == 0 && name != "" {
		fmt.Fprintf(table, "%s\t%s\n", escaped(name), escaped(cell(v)))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if name == "" {
			members(table, key, object[key])
		} else {
			members(table, name+"."+key, object[key])
		}
	}
}

// cell is a value in a line: a text as it is, the rest as JSON.
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
