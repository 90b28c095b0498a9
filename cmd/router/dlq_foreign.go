package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/dialect"
	"millrace/deadletter/filter"
	"millrace/deadletter/foreign"
	"millrace/transport/kafka"
)

func dlqForeignCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "foreign",
		Short: "Look at dead letters of other systems, and send them back",
		Long: `Look at the dead letters that other systems wrote to a topic (Watermill's PoisonQueue, Spring Kafka's dead letter
recoverer and retry topics, Kafka Connect), and send their messages to a topic that you name.

A letter is named by its place, as in 2@17: partition 2, offset 17. Filters are those of router dlq: topic, partition and
offset are where the message came from, status is new or redriven. --since spares reading what is older.
The topic of the letters stays as it is. What was redriven is remembered in the database, so that it goes once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(foreignGroupsCommand(), foreignListCommand(), foreignShowCommand(), foreignRedriveCommand())
	return cmd
}

// foreignFlags are those of all of these commands.
type foreignFlags struct {
	topic string
	since string
}

func (f *foreignFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.topic, "topic", "", "the topic of the letters (needed)")
	cmd.Flags().StringVar(&f.since, "since", "", "only what was written since then: 2h, 7d, 2026-01-31, 2026-01-31T12:00:00Z")
}

// selection is what flags and filter amount to.
func (f *foreignFlags) selection(filterArgs []string) (s foreign.Selection, err error) {
	if f.topic == "" {
		return s, exit.Misuse(errors.New("--topic is needed: the topic of the letters"))
	}
	s.Topic = f.topic
	if s.Since, err = parseSince(f.since, time.Now()); err != nil {
		return s, err
	}
	s.Filter, err = parseWith(foreignFields, strings.Join(filterArgs, " "))
	return s, err
}

const hoursOfDay = 24

// parseSince reads a moment, or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * hoursOfDay * time.Hour), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, exit.Misuse(fmt.Errorf("--since %q: it takes how long ago, or a time: 2h, 7d, 2026-01-31, 2026-01-31T12:00:00Z", text))
}

// withForeign runs do at the desk for letters of other systems. What it remembers is in the first database.
func withForeign(ctx context.Context, do func(ctx context.Context, desk *foreign.Desk, config kafka.Config) error) error {
	return withLog(ctx, func(ctx context.Context, d *desks, log *kafka.Admin, config kafka.Config) error {
		return do(ctx, foreign.NewDesk(d.databases[0].work, log, whoAmI()), config)
	})
}

func foreignGroupsCommand() *cobra.Command {
	var flags foreignFlags
	cmd := &cobra.Command{
		Use:   "groups --topic TOPIC [filter…]",
		Short: "One line for each kind of failure",
		Args:  cobra.ArbitraryArgs,
		Example: `  router dlq foreign groups --topic orders.DLT
  router dlq foreign groups --topic poison --since 2h status:new`,
	}
	flags.add(cmd)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		selection, err := flags.selection(args)
		if err != nil {
			return err
		}
		return withForeign(cmd.Context(), func(ctx context.Context, desk *foreign.Desk, _ kafka.Config) error {
			groups, err := desk.Groups(ctx, selection)
			if err != nil {
				return err
			}
			slices.SortFunc(groups, func(a, b *foreign.Group) int {
				return cmp.Or(cmp.Compare(b.Letters, a.Letters), cmp.Compare(a.Fingerprint, b.Fingerprint))
			})
			if output.value == "json" {
				return printLettersJSON(cmd.OutOrStdout(), map[string]any{"groups": append([]*foreign.Group{}, groups...)})
			}
			return printForeignGroups(cmd.OutOrStdout(), groups, flags.topic)
		})
	}
	return cmd
}

func printForeignGroups(w io.Writer, groups []*foreign.Group, topic string) error {
	if len(groups) == 0 {
		_, err := fmt.Fprintf(w, "No letters in %s.\n", topic)
		return err
	}
	t := table{columns: []column{{name: "GROUP"}, {name: "LETTERS", right: true}, {name: "REDRIVEN", right: true}, {name: "WRITTEN BY", spare: true},
		{name: "FROM TOPIC", fromEnd: true}, {name: "FIRST", right: true, spare: true}, {name: "LAST", right: true}, {name: "EXAMPLE"}, {name: "ERROR"}}}
	now := time.Now()
	for _, g := range groups {
		t.add(cmp.Or(g.Fingerprint, "all others"), fmt.Sprint(g.Letters), fmt.Sprint(g.Redriven), writtenBy(g.Dialect), g.Topic, deadletter.Age(now, g.First), deadletter.Age(now, g.Last), g.Example,
			foreignError(g.ErrorType, g.Error))
	}
	if err := t.print(w, terminalWidth(w)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nNext: %s\n", pasteable("router", "dlq", "foreign", "show", "--topic", topic, groups[0].Example))
	return err
}

// writtenBy names who wrote a letter.
func writtenBy(d dialect.Name) string { return cmp.Or(string(d), "nobody known") }

func foreignListCommand() *cobra.Command {
	var flags foreignFlags
	cmd := &cobra.Command{
		Use:   "list --topic TOPIC [filter…]",
		Short: "The letters of a topic, the youngest last",
		Args:  cobra.ArbitraryArgs,
		Example: `  router dlq foreign list --topic orders.DLT
  router dlq foreign list --topic orders.DLT status:new error~timeout --limit 200
  router dlq foreign list --topic poison 'body.total.amount>=10000' --output json`,
	}
	flags.add(cmd)
	limit := cmd.Flags().Int("limit", defaultLimit, "how many to show: the youngest")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		selection, err := flags.selection(args)
		if err != nil {
			return err
		}
		if *limit < 1 || *limit > maxLimit {
			return exit.Misuse(fmt.Errorf("--limit is between 1 and %d, not %d", maxLimit, *limit))
		}
		return withForeign(cmd.Context(), func(ctx context.Context, desk *foreign.Desk, _ kafka.Config) error {
			last := youngest{most: *limit}
			err := desk.Each(ctx, selection, func(l *foreign.Letter) error {
				if output.value != "json" {
					l.Payload, l.Record.Value = nil, nil // nobody looks at it
				}
				last.add(l)
				return nil
			})
			if err != nil {
				return err
			}
			if output.value == "json" {
				lines := []foreignLine{}
				for _, l := range last.shown() {
					lines = append(lines, newForeignLine(l))
				}
				return printLettersJSON(cmd.OutOrStdout(), map[string]any{"letters": lines})
			}
			return printForeignList(cmd.OutOrStdout(), last, flags.topic)
		})
	}
	return cmd
}

// foreignError is an error on one line. Of a Java class, whose name is long, it says the last part.
func foreignError(class, text string) string {
	class = class[strings.LastIndex(class, ".")+1:]
	if class == "" || text == "" {
		return class + text
	}
	return class + ": " + text
}

// youngest keeps the youngest letters of many, which come partition by partition.
type youngest struct {
	most int
	all  int
	list []*foreign.Letter
}

func (k *youngest) add(l *foreign.Letter) {
	k.all++
	if k.list = append(k.list, l); len(k.list) >= 2*k.most {
		k.list = slices.Clone(k.shown())
	}
}

// shown are those that are kept, the youngest last.
func (k *youngest) shown() []*foreign.Letter {
	slices.SortStableFunc(k.list, func(a, b *foreign.Letter) int { return a.Record.Time.Compare(b.Record.Time) })
	return k.list[max(0, len(k.list)-k.most):]
}

func printForeignList(w io.Writer, last youngest, topic string) error {
	list := last.shown()
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "No such letters in %s.\n", topic)
		return err
	}
	t := table{columns: []column{{name: "PLACE"}, {name: "STATUS"}, {name: "WRITTEN BY", spare: true}, {name: "GROUP"}, {name: "FROM TOPIC", fromEnd: true},
		{name: "KEY", fromEnd: true, spare: true}, {name: "TRIES", right: true, spare: true}, {name: "AGE", right: true}, {name: "ERROR"}}}
	now := time.Now()
	for _, l := range list {
		t.add(l.Place(), string(foreignStatus(l)), writtenBy(l.Dialect), l.Fingerprint(), l.Topic, string(l.Record.Key), fmt.Sprint(l.Attempts), deadletter.Age(now, l.LastFailed),
			foreignError(l.ErrorType, l.Error))
	}
	if err := t.print(w, terminalWidth(w)); err != nil {
		return err
	}
	if last.all > len(list) {
		_, err := fmt.Fprintf(w, "\nThese are the youngest %d of %d; --limit shows more.\n", len(list), last.all)
		return err
	}
	return nil
}

// foreignStatus is what became of a letter, as filters call it.
func foreignStatus(l *foreign.Letter) deadletter.Status {
	if l.SentAt.IsZero() {
		return deadletter.New
	}
	return redrivenStatus
}

// redrivenStatus is the status of a letter of another system that was sent back.
const redrivenStatus deadletter.Status = "redriven"

// foreignFields are the fields of letters of other systems that have few values.
var foreignFields = filter.Closed{"status": {string(deadletter.New), string(redrivenStatus)}}
