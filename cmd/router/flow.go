package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"millrace/router"
)

func flowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "flow",
		Short: "Show who says what and who hears it",
		Example: `  router flow
  router flow --output mermaid
  router flow --output json | jq -r '.[] | select(.publisher == "payment") | .topic'`,
	}
	output := addOutput(cmd, "table", "mermaid", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		flow := router.Flow(router.Services{})
		switch output.value {
		case "mermaid":
			_, err := io.WriteString(cmd.OutOrStdout(), flow.Mermaid())
			return err
		case "json":
			return printJSON(cmd.OutOrStdout(), flow.Rows())
		default:
			return printFlow(cmd.OutOrStdout(), flow)
		}
	}
	return cmd
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func printFlow(w io.Writer, flow router.Graph) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TOPIC\tEVENT\tPUBLISHER\tCONSUMERS")
	for _, row := range flow.Rows() {
		var names []string
		for _, c := range row.Consumers {
			if slices.Contains(row.Specified, c) || c == "analytics" {
				names = append(names, c)
			} else {
				names = append(names, "+"+c)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", row.Topic, row.Event, row.Publisher, strings.Join(names, ", "))
	}
	fmt.Fprintln(t, "\n+ the saga's own arrow, beyond the specification; analytics hears every topic")
	return t.Flush()
}
