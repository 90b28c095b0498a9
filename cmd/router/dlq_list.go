package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"millrace/deadletter"
)

func dlqGroupsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "groups [filter…]",
		Short: "One line for each kind of failure",
		Args:  cobra.ArbitraryArgs,
		Example: `  router dlq groups
  router dlq groups status:new since:24h
  router dlq groups --output json | jq -r '.[0].fingerprint'`,
	}
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		condition, err := parseFilter(args)
		if err != nil {
			return err
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			groups := []deadletter.Group{}
			for _, desk := range d.all {
				list, err := desk.Groups(ctx, condition)
				if err != nil {
					return err
				}
				groups = append(groups, list...)
			}
			slices.SortStableFunc(groups, func(a, b deadletter.Group) int { return cmp.Compare(b.Letters, a.Letters) })
			if output.value == "json" {
				return printJSON(cmd.OutOrStdout(), groups)
			}
			return printGroups(cmd.OutOrStdout(), groups, time.Now())
		})
	}
	return cmd
}

func printGroups(w io.Writer, groups []deadletter.Group, now time.Time) error {
	if len(groups) == 0 {
		_, err := fmt.Fprintln(w, "No dead letters.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GROUP\tLETTERS\tORDERS HELD\tPARKED BEHIND\tSERVICES\tFIRST\tLAST\tTREND\tERROR")
	for _, g := range groups {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", g.Fingerprint, g.Letters, g.Orders, g.Behind, strings.Join(g.Services, ","),
			ago(now, g.FirstFailed), ago(now, g.LastFailed), trend(g), oneLine(g.Error, errorWidth))
	}
	return t.Flush()
}

// errorWidth is how much of an error a list shows.
const errorWidth = 70

// trend compares the last hour with the one before it.
func trend(g deadletter.Group) string {
	switch {
	case g.LastHour == 0:
		return "none in 1h"
	case g.LastHour > g.HourBefore:
		return fmt.Sprintf("up, %d in 1h", g.LastHour)
	case g.LastHour < g.HourBefore:
		return fmt.Sprintf("down, %d in 1h", g.LastHour)
	default:
		return fmt.Sprintf("steady, %d in 1h", g.LastHour)
	}
}

// ago is how long before now, in one unit.
func ago(now, at time.Time) string {
	d := now.Sub(at)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", max(int(d.Seconds()), 0))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(d.Hours()/24))
	}
}

// oneLine is text without line breaks or control characters, and not longer than that.
func oneLine(text string, width int) string {
	clean := []rune(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " "))
	if len(clean) <= width {
		return string(clean)
	}
	return string(clean[:width-1]) + "…"
}

func dlqListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [filter…]",
		Short: "The letters, the youngest first",
		Args:  cobra.ArbitraryArgs,
		Example: `  router dlq list
  router dlq list service:payment error~timeout
  router dlq list status:new 'body.total.amount>=10000' --limit 200`,
	}
	limit := cmd.Flags().Int("limit", defaultLimit, "how many to show")
	before := cmd.Flags().Int64("before", 0, "go on with those older than this position, which the end of a page names")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		condition, err := parseFilter(args)
		if err != nil {
			return err
		}
		if *limit < 1 || *limit > maxLimit {
			return usageError{fmt.Errorf("--limit is between 1 and %d, not %d", maxLimit, *limit)}
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			var all []deadletter.Listed
			var next int64
			for _, desk := range d.all {
				list, more, err := desk.Page(ctx, condition, *before, *limit)
				if err != nil {
					return err
				}
				all, next = append(all, list...), max(next, more)
			}
			if output.value == "json" {
				return printJSON(cmd.OutOrStdout(), listJSON(all))
			}
			return printLetters(cmd.OutOrStdout(), all, next, time.Now())
		})
	}
	return cmd
}

const (
	defaultLimit = 50
	maxLimit     = 10_000
)

func printLetters(w io.Writer, list []deadletter.Listed, next int64, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No dead letters.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LETTER\tSTATUS\tSERVICE\tTOPIC\tORDER\tBEHIND\tTRIES\tLAST\tERROR")
	for _, l := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", l.ID, l.Status, l.Service, l.Topic, cmp.Or(l.OrderID, "-"), l.Behind, l.Attempts,
			ago(now, l.LastFailed), oneLine(l.Error, errorWidth))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if next > 0 {
		_, err := fmt.Fprintf(w, "\nThere are more: --before %d\n", next)
		return err
	}
	return nil
}
