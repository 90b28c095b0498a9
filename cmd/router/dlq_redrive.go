package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/filter"
)

// redriveOptions are the flags of dlq redrive.
type redriveOptions struct {
	choice
	reason, resume    string
	dryRun, yes, here bool
	pace              deadletter.Pace
	output            *outputFlag
}

func dlqRedriveCommand() *cobra.Command {
	var o redriveOptions
	cmd := &cobra.Command{
		Use:   "redrive [letter…]",
		Short: "Have letters processed again, by the service that failed and nobody else",
		Args:  cobra.ArbitraryArgs,
		Long: `Has letters processed again by the service that failed: by id, by group, or by filter. What is chosen is
noted first and shown, so what fails later does not join it. One letter goes first; when it got through, more
follow, faster and faster, until all have an outcome or too many failed again. What waits behind a letter
follows it, in order.

The routers that run the service do the work. Where none does, --here does it in this process, with this
build: the reactions alone, without HTTP, without hearing the topics, without calls to the outside.

Ctrl-C stops asking for more, and --resume takes a redrive up again (router dlq redrives lists them).
It exits with 0 when all were processed, with 1 when some failed again or still wait.`,
		Example: `  router dlq redrive 3f1c9a --reason "account exists now"
  router dlq redrive --group a1b2c3d4e5f6 --dry-run
  router dlq redrive --group a1b2c3d4e5f6 --rate 100 --max-failures 5 --reason "fixed in 1.4.2"
  router dlq redrive --filter 'service:payment since:2h' --yes --reason "provider is back"
  router dlq redrive --resume 0b0e5c7e-7c1a-4d0e-9d43-4f8b8f2f6a10`,
		ValidArgsFunction: completeLetters("status:new or status:retrying"),
	}
	o.addFlags(cmd)
	cmd.Flags().StringVar(&o.reason, "reason", "", "why, for the letters' story (needed)")
	cmd.Flags().StringVar(&o.resume, "resume", "", "go on with this redrive")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only find out what would happen to each")
	cmd.Flags().BoolVar(&o.here, "here", false, "do the work in this process too")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask; needed where nobody can be asked")
	cmd.Flags().Float64Var(&o.pace.Rate, "rate", 0, "letters a second (default: as many as are processed)")
	cmd.Flags().Int64Var(&o.pace.MaxFailures, "max-failures", 0, "how many may fail again before no more are asked for")
	completeFlag(cmd, "resume", completeRedrives)
	o.output = addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.checkFlags(cmd, args); err != nil {
			return err
		}
		return openDesks(cmd.Context(), o.here, func(ctx context.Context, d *desks) error {
			if o.resume != "" {
				return d.redrive(ctx, cmd, filter.Condition{}, o)
			}
			condition, err := o.resolve(ctx, d, waiting)
			if err != nil {
				return err
			}
			if o.dryRun {
				return d.dryRun(ctx, cmd, condition, o.output)
			}
			return d.redrive(ctx, cmd, condition, o)
		})
	}
	return cmd
}

// checkFlags finds what can be found before anything is opened.
func (o *redriveOptions) checkFlags(cmd *cobra.Command, args []string) error {
	if o.pace.Rate < 0 || math.IsNaN(o.pace.Rate) || math.IsInf(o.pace.Rate, 0) || o.pace.MaxFailures < 0 {
		return exit.Misuse(errors.New("--rate and --max-failures are not negative"))
	}
	if o.resume == "" {
		if err := o.check(cmd, args, 0); err != nil {
			return err
		}
		if o.dryRun {
			return nil
		}
		if o.reason == "" {
			return exit.Misuse(errors.New(`--reason is needed, for instance --reason "fixed in 1.4.2"`))
		}
		if !o.yes && !interactive() {
			return errNobody
		}
		return nil
	}
	if len(args) > 0 || o.group != "" || o.filter != "" || o.dryRun {
		return exit.Misuse(errors.New("--resume goes on with the letters that were chosen then: no others can be named, and no --dry-run"))
	}
	if _, err := uuid.Parse(o.resume); err != nil {
		return exit.Misuse(fmt.Errorf("--resume takes the id of a redrive, not %q (router dlq redrives lists them)", o.resume))
	}
	return nil
}

// redrivesJSON is what redrives prints with --output json.
type redrivesJSON struct {
	Redrives []deadletter.Redrive `json:"redrives"`
}

// maxRedrives is how many redrives are listed.
const maxRedrives = 20

func dlqRedrivesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "redrives",
		Short: "The last redrives, and how far they have come",
		Example: `  router dlq redrives
  router dlq redrives --output json | jq '.redrives[0].tally'`,
	}
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			list, err := d.redrives(ctx)
			if err != nil {
				return err
			}
			if output.value == "json" {
				return printLettersJSON(cmd.OutOrStdout(), redrivesJSON{list})
			}
			w, now := cmd.OutOrStdout(), time.Now()
			if len(list) == 0 {
				fmt.Fprintln(w, "Nothing has been redriven yet.")
				return nil
			}
			t := table{columns: []column{{name: "REDRIVE"}, {name: "WHEN", right: true}, {name: "LETTERS", right: true}, {name: "DONE", right: true},
				{name: "FAILED", right: true}, {name: "LEFT", right: true}, {name: "WHO", spare: true}, {name: "SELECTION AND REASON"}}}
			for _, r := range list {
				t.add(r.ID, deadletter.Age(now, r.CreatedAt), fmt.Sprint(r.Tally.Letters), fmt.Sprint(r.Tally.Resolved+r.Tally.Gone), fmt.Sprint(r.Tally.Failed),
					fmt.Sprint(r.Tally.Waiting+r.Tally.Asked+r.Tally.Held), r.Who, r.Selection+": "+r.Reason)
			}
			return t.print(w, terminalWidth(w))
		})
	}
	return cmd
}

// redrives are the last ones of all databases; one whose letters lie in several is one.
func (d *desks) redrives(ctx context.Context) (list []deadletter.Redrive, err error) {
	list = []deadletter.Redrive{}
	at := map[string]int{}
	for _, desk := range d.all {
		some, err := desk.Redrives(ctx, maxRedrives)
		if err != nil {
			return nil, err
		}
		for _, r := range some {
			if r.Tally.Resolved+r.Tally.Gone < r.Tally.Letters { // it may have come further since somebody looked
				if r, err = desk.FindRedrive(ctx, r.ID); err != nil {
					return nil, err
				}
			}
			if i, known := at[r.ID]; known {
				list[i].Tally.Add(r.Tally)
				continue
			}
			at[r.ID] = len(list)
			list = append(list, r)
		}
	}
	return list, nil
}
