package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/deadletter/dialect"
	"millrace/deadletter/foreign"
	"millrace/deadletter/plural"
	"millrace/router"
	"millrace/transport/kafka"
)

// foreignRedriveFlags are the flags of dlq foreign redrive.
type foreignRedriveFlags struct {
	foreignFlags
	to, group, reason string
	drop              []string
	limit             int64
	dryRun, yes       bool
}

func foreignRedriveCommand() *cobra.Command {
	var o foreignRedriveFlags
	cmd := &cobra.Command{
		Use:   "redrive --topic TOPIC --to TOPIC [filter…]",
		Short: "Send the messages of letters to a topic, each once",
		Long: `Sends the messages of letters to a topic, those of a partition in their order, each once: what was sent is remembered.
Key, body and headers are those the message came with, and so is its time where the letter tells it. The headers of the failure
are left out; those of the trace become links (dlq_original_traceparent), since it ended when the message failed. A
message that returns to its own topic goes to its own partition where the letter tells it; otherwise to the partition with
the letter's own number, if both topics have as many, and else to the one its key belongs to.

Whoever hears the topic gets the message, not only the one that failed. A crash at the wrong moment can have up to
a hundred messages sent again by the next redrive: dlq_redriven_from is the same each time.
Ctrl-C stops it; the same command goes on.`,
		Args: cobra.ArbitraryArgs,
		Example: `  router dlq foreign redrive --topic orders.DLT --to orders --dry-run
  router dlq foreign redrive --topic orders.DLT --to orders --limit 1 --yes --reason "canary"
  router dlq foreign redrive --topic orders.DLT --to orders --group a1b2c3d4e5f6 --yes --reason "fixed in 2.3"
  router dlq foreign redrive --topic poison --to orders 'error~timeout since:2h' --yes`,
	}
	o.add(cmd)
	cmd.Flags().StringVar(&o.to, "to", "", "the topic to send to (needed)")
	cmd.Flags().StringVar(&o.group, "group", "", "only the letters of this group (router dlq foreign groups)")
	cmd.Flags().StringVar(&o.reason, "reason", "", "why; it is kept with what was sent")
	cmd.Flags().StringSliceVar(&o.drop, "drop-header", nil, "leave this header out as well; may be repeated")
	cmd.Flags().Int64Var(&o.limit, "limit", 0, "send so many and stop (default: all)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only show what would be sent")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask; needed where nobody can be asked")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		redrive, err := o.redrive(args)
		if err != nil {
			return err
		}
		return withForeign(cmd.Context(), func(ctx context.Context, desk *foreign.Desk, config kafka.Config) error {
			way, err := desk.Route(ctx, o.topic, o.to)
			if err != nil {
				return err
			}
			if o.dryRun {
				return foreignDryRun(ctx, cmd.OutOrStdout(), desk, redrive, way, output.value)
			}
			if !o.yes && !o.confirmed(ctx, cmd) {
				return errors.New("nothing was sent")
			}
			return sendForeign(ctx, cmd, desk, redrive, config, output.value)
		})
	}
	return cmd
}

// redrive is what flags and filter amount to.
func (o *foreignRedriveFlags) redrive(args []string) (r foreign.Redrive, err error) {
	if o.group != "" {
		if len(args) > 0 {
			args = []string{"(" + strings.Join(args, " ") + ")"}
		}
		args = append(args, "group:"+o.group)
	}
	r.Selection, err = o.selection(args)
	switch {
	case err != nil:
		return r, err
	case o.to == "":
		return r, exit.Misuse(errors.New("--to is needed: the topic to send to"))
	case o.to == o.topic:
		return r, exit.Misuse(fmt.Errorf("--to %s: that is where the letters are", o.to))
	case o.limit < 0:
		return r, exit.Misuse(errors.New("--limit is not negative"))
	case !o.dryRun && !o.yes && !interactive():
		return r, exit.Misuse(errors.New("nobody can be asked here: --yes says that the messages are to be sent; --dry-run shows them"))
	}
	r.To, r.Limit, r.Reason, r.Drop = o.to, o.limit, o.reason, o.drop
	return r, nil
}

// confirmed asks. A topic of ours has readers of ours.
func (o *foreignRedriveFlags) confirmed(ctx context.Context, cmd *cobra.Command) bool {
	question := fmt.Sprintf("Send what is chosen of %s to %s?", o.topic, o.to)
	var readers []string
	for _, s := range router.Flow(router.Services{}) {
		if slices.Contains(s.Topics(), o.to) {
			readers = append(readers, s.Name)
		}
	}
	if len(readers) > 0 {
		question = fmt.Sprintf("%s hear %s. %s", strings.Join(readers, ", "), o.to, question)
	}
	return confirmed(ctx, cmd, question)
}

// foreignPreview is what a dry run prints with --output json.
type foreignPreview struct {
	Chosen  int64         `json:"chosen"`     // would be sent
	Before  int64         `json:"sentBefore"` // went back already
	Ours    int64         `json:"ours"`       // letters of this system
	Letters []foreignLine `json:"letters"`    // the first of those chosen
}

// foreignDryRun shows what would be sent.
func foreignDryRun(ctx context.Context, w io.Writer, desk *foreign.Desk, r foreign.Redrive, way foreign.Route, output string) error {
	preview := foreignPreview{Letters: []foreignLine{}}
	t := table{columns: []column{{name: "PLACE"}, {name: "TO"}, {name: "KEY", fromEnd: true}, {name: "GROUP", spare: true}, {name: "BYTES", right: true}, {name: "ERROR"}}}
	err := desk.Each(ctx, r.Selection, func(l *foreign.Letter) error {
		switch {
		case l.Dialect == dialect.Ours:
			preview.Ours++
			return nil
		case !l.SentAt.IsZero():
			preview.Before++
			return nil
		case r.Limit > 0 && preview.Chosen == r.Limit:
			return nil
		}
		if preview.Chosen++; len(preview.Letters) == foreignExamples {
			return nil
		}
		preview.Letters = append(preview.Letters, newForeignLine(l))
		to := r.To
		if p := l.Original(way, r.Drop).Partition; p >= 0 {
			to = fmt.Sprintf("%s/%d", r.To, p)
		}
		t.add(l.Place(), to, keyText(l.Record.Key), l.Fingerprint(), fmt.Sprint(len(l.Record.Value)), foreignError(l.ErrorType, l.Error))
		return nil
	})
	if err != nil {
		return err
	}
	if output == "json" {
		return printLettersJSON(w, preview)
	}
	if preview.Chosen > 0 {
		if err := t.print(w, terminalWidth(w)); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	_, err = fmt.Fprintf(w, "%s would be sent to %s; %d went back before. Nothing was sent.%s\n", plural.Of(preview.Chosen, "message", "messages"), r.To, preview.Before, aboutOurs(preview.Ours))
	return err
}

// foreignExamples is how many letters a dry run shows one by one.
const foreignExamples = 20

// aboutOurs tells about letters of this system, which do not go to a topic.
func aboutOurs(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" %s of this system: that is for router dlq redrive, which goes to the service that failed.", plural.Of(n, "letter is", "letters are"))
}

// sendForeign sends what is chosen, and says what became of it.
func sendForeign(ctx context.Context, cmd *cobra.Command, desk *foreign.Desk, r foreign.Redrive, config kafka.Config, output string) (err error) {
	sender, err := kafka.NewSender(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sender.Close()) }()
	said := time.Now()
	tally, err := desk.Redrive(ctx, sender, r, func(t foreign.Tally) {
		if time.Since(said) > foreignProgress {
			said = time.Now()
			fmt.Fprintf(cmd.ErrOrStderr(), "%d sent …\n", t.Sent)
		}
	})
	if output == "json" {
		return errors.Join(err, printJSON(cmd.OutOrStdout(), tally))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s sent to %s, %d had been before, %d failed.%s\n", plural.Of(tally.Sent, "message was", "messages were"), r.To, tally.Before, tally.Failed, aboutOurs(tally.Ours))
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "Stopped. The same command goes on.")
	}
	return err
}

// foreignProgress is how often a redrive says how far it is.
const foreignProgress = 2 * time.Second
