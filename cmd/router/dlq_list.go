package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/filter"
)

// listJSON is what list prints with --output json.
type listJSON struct {
	Letters []letterJSON `json:"letters"`
	// Next is for --before; empty on the last page.
	Next string `json:"next,omitempty"`
}

func dlqListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [filter…]",
		Short: "The letters, the youngest first",
		Args:  cobra.ArbitraryArgs,
		Example: `  router dlq list
  router dlq list service:payment error~timeout
  router dlq list status:new 'body.total.amount>=10000' --limit 200
  router dlq list --output json | jq -r '.letters[].id'`,
		ValidArgsFunction: completeFilter,
	}
	limit := cmd.Flags().Int("limit", defaultLimit, "how many to show")
	before := cmd.Flags().String("before", "", "go on from here: what the end of a page names")
	all := addAll(cmd)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		condition, err := parseFilter(args)
		if err != nil {
			return err
		}
		if *limit < 1 || *limit > maxLimit {
			return exit.Misuse(fmt.Errorf("--limit is between 1 and %d, not %d", maxLimit, *limit))
		}
		from, err := parseCursor(*before)
		if err != nil {
			return err
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			list, next, err := d.page(ctx, unsettled(condition, *all), from, *limit)
			if err != nil {
				return err
			}
			if output.value == "json" {
				out := listJSON{Letters: make([]letterJSON, len(list)), Next: next.String()}
				for i := range list {
					out.Letters[i] = toJSON(&list[i].Letter)
					out.Letters[i].Behind = &list[i].Behind
				}
				return printLettersJSON(cmd.OutOrStdout(), out)
			}
			if err := printLetters(cmd.OutOrStdout(), list, len(args) > 0, *all || condition.Status, time.Now()); err != nil || next == nil {
				return err
			}
			again := append([]string{"router", "dlq", "list"}, args...)
			if *all {
				again = append(again, "--all")
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nMore: %s\n", pasteable(append(again, "--limit", strconv.Itoa(*limit), "--before", next.String())...))
			return err
		})
	}
	return cmd
}

const (
	defaultLimit = 50
	maxLimit     = 10_000
)

// cursor is where a list goes on: in each database, before that position. Without any it begins with the youngest.
type cursor []int64

// nothingLeft is the cursor of a database without further letters: positions begin with 1.
const nothingLeft = 1

func parseCursor(text string) (c cursor, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || n < 0 {
			return nil, exit.Misuse(fmt.Errorf("--before %q is not what the end of a page named", text))
		}
		c = append(c, n)
	}
	return c, nil
}

func (c cursor) String() string {
	parts := make([]string, len(c))
	for i, n := range c {
		parts[i] = strconv.FormatInt(n, 10)
	}
	return strings.Join(parts, ",")
}

// page is the youngest letters before a cursor, of all databases. Positions are each database's own: what lies in
// several is merged by when it failed. next is nil on the last page.
func (d *desks) page(ctx context.Context, c filter.Condition, from cursor, limit int) (page []deadletter.Listed, next cursor, err error) {
	if from == nil {
		from = make(cursor, len(d.all))
	}
	if len(from) != len(d.all) {
		return nil, nil, exit.Misuse(errors.New("--before is from a list of other databases than those of now: begin anew without it"))
	}
	lists := make([][]deadletter.Listed, len(d.all))
	more := make([]bool, len(d.all))
	for i, desk := range d.all {
		list, after, err := desk.Page(ctx, c, from[i], limit)
		if err != nil {
			return nil, nil, err
		}
		lists[i], more[i] = list, after > 0
	}
	next = append(cursor(nil), from...)
	for len(page) < limit {
		youngest := -1
		for i, list := range lists {
			if len(list) > 0 && (youngest < 0 || list[0].LastFailed.After(lists[youngest][0].LastFailed)) {
				youngest = i
			}
		}
		if youngest < 0 {
			break
		}
		letter := lists[youngest][0]
		lists[youngest] = lists[youngest][1:]
		page, next[youngest] = append(page, letter), letter.Position
	}
	last := true
	for i, list := range lists {
		if len(list) > 0 || more[i] {
			last = false
		} else {
			next[i] = nothingLeft
		}
	}
	if last {
		return page, nil, nil
	}
	return page, next, nil
}

func printLetters(w io.Writer, list []deadletter.Listed, filtered, everything bool, now time.Time) error {
	if len(list) == 0 {
		printNone(w, filtered, everything)
		return nil
	}
	t := table{columns: []column{{name: "LETTER"}, {name: "STATUS"}, {name: "SERVICE"}, {name: "TOPIC", spare: true}, {name: "ORDER", fromEnd: true},
		{name: "PARKED", right: true}, {name: "TRIES", right: true, spare: true}, {name: "LAST", right: true}, {name: "ERROR"}}}
	for _, l := range list {
		t.add(shortID(l.ID), string(l.Status), l.Service, l.Topic, cmp.Or(l.OrderID, "-"), strconv.FormatInt(l.Behind, 10), strconv.Itoa(l.Attempts), deadletter.Age(now, l.LastFailed), l.Error)
	}
	return t.print(w, terminalWidth(w))
}
