package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/deadletter"
)

// groupJSON is a group as scripts see it.
type groupJSON struct {
	Group       string    `json:"group"`
	Letters     int64     `json:"letters"`
	Orders      int64     `json:"ordersHeldUp"`
	Behind      int64     `json:"parkedBehind"`
	Services    []string  `json:"services"`
	Handler     string    `json:"handler"`
	ErrorType   string    `json:"errorType"`
	Error       string    `json:"error"`   // of the youngest letter
	Example     string    `json:"example"` // the id of the youngest letter
	FirstFailed time.Time `json:"firstFailed"`
	LastFailed  time.Time `json:"lastFailed"`
	LastHour    int64     `json:"lastHour"`   // failed first in the last hour
	HourBefore  int64     `json:"hourBefore"` // and in the hour before
}

// groupsJSON is what groups prints with --output json.
type groupsJSON struct {
	Groups []groupJSON        `json:"groups"`
	Paused []deadletter.Pause `json:"paused"`
	// Resumed are pauses that are over, with --all: who ended them, and why.
	Resumed []deadletter.Pause `json:"resumed,omitempty"`
}

func dlqGroupsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "groups [filter…]",
		Short: "One line for each kind of failure",
		Long: `Shows one line for each kind of failure: how many letters there are, how many orders they hold up, how many
messages are parked behind them, when the first and the last of them failed, and how it goes on: letters of the
last hour, and of the hour before it. Services that are paused are told below, and with --all those that were, with who resumed them and why.`,
		Args: cobra.ArbitraryArgs,
		Example: `  router dlq groups
  router dlq groups service:payment since:24h
  router dlq groups --output json | jq -r '.groups[0].group'`,
		ValidArgsFunction: completeFilter,
	}
	all := addAll(cmd)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		condition, err := parseFilter(args)
		if err != nil {
			return err
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			found := groupsJSON{Groups: []groupJSON{}, Paused: []deadletter.Pause{}}
			for _, desk := range d.all {
				list, err := desk.Groups(ctx, unsettled(condition, *all))
				if err != nil {
					return err
				}
				for _, g := range list {
					found.Groups = append(found.Groups, toGroupJSON(g))
				}
				paused, err := desk.Pauses(ctx)
				if err != nil {
					return err
				}
				found.Paused = append(found.Paused, paused...)
				if !*all {
					continue
				}
				resumed, err := desk.EndedPauses(ctx)
				if err != nil {
					return err
				}
				found.Resumed = append(found.Resumed, resumed...)
			}
			slices.SortStableFunc(found.Groups, func(a, b groupJSON) int { return cmp.Compare(b.Letters, a.Letters) })
			if output.value == "json" {
				return printLettersJSON(cmd.OutOrStdout(), found)
			}
			return printGroups(cmd.OutOrStdout(), found, len(args) > 0, *all || condition.Status, time.Now())
		})
	}
	return cmd
}

func toGroupJSON(g deadletter.Group) groupJSON {
	return groupJSON{
		Group: g.Fingerprint, Letters: g.Letters, Orders: g.Orders, Behind: g.Behind, Services: g.Services, Handler: g.Handler, ErrorType: g.ErrorType,
		Error: g.Error, Example: g.Example, FirstFailed: g.FirstFailed, LastFailed: g.LastFailed, LastHour: g.LastHour, HourBefore: g.HourBefore,
	}
}

func printGroups(w io.Writer, found groupsJSON, filtered, everything bool, now time.Time) error {
	width := terminalWidth(w)
	if len(found.Groups) == 0 {
		printNone(w, filtered, everything)
	} else {
		t := table{below: groupLines, columns: []column{{name: "GROUP"}, {name: "LETTERS", right: true}, {name: "ORDERS", right: true}, {name: "PARKED", right: true}, {name: "SERVICE"},
			{name: "FIRST", right: true}, {name: "LAST", right: true}, {name: "TREND"}, {name: "EXAMPLE", spare: true}, {name: "ERROR"}}}
		for _, g := range found.Groups {
			t.add(g.Group, fmt.Sprint(g.Letters), fmt.Sprint(g.Orders), fmt.Sprint(g.Behind), strings.Join(g.Services, ","),
				deadletter.Age(now, g.FirstFailed), deadletter.Age(now, g.LastFailed), deadletter.Group{LastHour: g.LastHour, HourBefore: g.HourBefore}.Trend(), shortID(g.Example), g.Error)
		}
		if err := t.print(w, width); err != nil {
			return err
		}
	}
	for _, p := range found.Paused {
		printPause(w, p, width, now)
	}
	printResumed(w, found.Resumed, width)
	if len(found.Groups) == 0 {
		return nil
	}
	g := found.Groups[0]
	if everything { // perhaps none of them waits any more
		_, err := fmt.Fprintf(w, "\nNext: router dlq show %s\n      router dlq list --all group:%s\n", shortID(g.Example), g.Group)
		return err
	}
	_, err := fmt.Fprintf(w, `
Next: router dlq show %s
      router dlq list group:%s
      router dlq redrive --group %s --dry-run
`, shortID(g.Example), g.Group, g.Group)
	return err
}

// groupLines are enough for most errors, on a narrow terminal.
const groupLines = 3

// printNone says kindly that there is nothing, and whether all letters were looked through: with --all, or where the filter
// asks for a status.
func printNone(w io.Writer, filtered, everything bool) {
	switch {
	case filtered && everything:
		fmt.Fprintln(w, "No dead letter meets this filter.")
	case filtered:
		fmt.Fprintln(w, "No dead letter that waits meets this filter. With --all, settled ones are looked through too.")
	case everything:
		fmt.Fprintln(w, "There are no dead letters.")
	default:
		fmt.Fprintln(w, "No dead letters wait. With --all, settled ones are shown too.")
	}
}

// printNoneChosen says that a choice of letters to decide about met none. There is no --all: what is not in this status is passed over.
func printNoneChosen(w io.Writer, status string) {
	fmt.Fprintf(w, "No dead letter that is %s meets this choice: nothing to do. router dlq groups and router dlq list show what there is.\n", status)
}

// printPause says that a service stands still, and what to do.
func printPause(w io.Writer, p deadletter.Pause, width int, now time.Time) {
	fmt.Fprintln(w)
	for _, line := range wrapped(fmt.Sprintf("PAUSED: %s takes no messages since %s (%s), because %s",
		p.Service, p.Since.Local().Format(time.TimeOnly), ago(now, p.Since), whyPaused(p)), width) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "        Mend it, then: router dlq resume %s --reason \"…\"\n", p.Service)
}

// whyPaused is what led to a pause: one kind of failure, or how much there is of all.
func whyPaused(p deadletter.Pause) string {
	if p.Fingerprint == "" {
		return oneLine(p.Error, pipeText)
	}
	return fmt.Sprintf("too many failed alike (group %s: %s)", p.Fingerprint, oneLine(p.Error, pipeText))
}

// printResumed tells of pauses that are over: who ended them, and why.
func printResumed(w io.Writer, list []deadletter.Pause, width int) {
	for i, p := range list {
		if i == 0 {
			fmt.Fprintln(w)
		}
		text := fmt.Sprintf("%s was paused at %s for %s, because %s; resumed by %s: %s", p.Service, p.Since.Local().Format(time.DateTime), deadletter.Age(*p.ResumedAt, p.Since),
			whyPaused(p), p.ResumedBy, p.Reason)
		for _, line := range wrapped(text, width) {
			fmt.Fprintln(w, line)
		}
	}
}

// shortDigits is how much of an id is shown in tables: enough to be typed, and to tell 100,000 apart.
const shortDigits = 8

func shortID(id string) string { return id[:min(shortDigits, len(id))] }
