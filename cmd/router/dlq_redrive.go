package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/deadletter"
	"millrace/deadletter/filter"
	"millrace/router"
)

// redriveOptions are the flags of dlq redrive.
type redriveOptions struct {
	group, filter, reason, resume string
	dryRun, yes                   bool
	pace                          deadletter.Pace
	output                        *outputFlag
}

func dlqRedriveCommand() *cobra.Command {
	var o redriveOptions
	cmd := &cobra.Command{
		Use:   "redrive [letter…]",
		Short: "Have letters processed again, by the service that failed and nobody else",
		Args:  cobra.ArbitraryArgs,
		Long: `Has letters processed again by the service that failed: by id, by group, or by filter. What is chosen is
noted first, so what fails later does not join it. One letter goes first; when it got through, more follow, faster and
faster, until all have an outcome or too many failed again. What waits behind a letter follows it, in order.

The routers do the work: at least one that runs the service must run. Ctrl-C stops asking for more; --resume takes
a redrive up again.`,
		Example: `  router dlq redrive 3f1c9a --reason "account exists now"
  router dlq redrive --group a1b2c3d4e5f6 --dry-run
  router dlq redrive --group a1b2c3d4e5f6 --rate 100 --max-failures 5 --reason "fixed in 1.4.2"
  router dlq redrive --filter 'service:payment since:2h' --yes --reason "provider is back"
  router dlq redrive --resume 0b0e5c7e-7c1a-4d0e-9d43-4f8b8f2f6a10`,
	}
	cmd.Flags().StringVar(&o.group, "group", "", "the letters of this group (router dlq groups)")
	cmd.Flags().StringVar(&o.filter, "filter", "", "the letters that meet this filter (router dlq --help)")
	cmd.Flags().StringVar(&o.reason, "reason", "", "why, for the letters' story")
	cmd.Flags().StringVar(&o.resume, "resume", "", "go on with this redrive")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only find out what would happen to each")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask; needed where nobody can be asked")
	cmd.Flags().Float64Var(&o.pace.Rate, "rate", 0, "letters a second (default: as many as are processed)")
	cmd.Flags().Int64Var(&o.pace.MaxFailures, "max-failures", 0, "how many may fail again before no more are asked for")
	o.output = addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		condition, text, err := o.selection(args)
		if err != nil {
			return err
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			if o.dryRun {
				return d.dryRun(ctx, cmd.OutOrStdout(), condition, o)
			}
			return d.redrive(ctx, cmd, condition, text, o)
		})
	}
	return cmd
}

// selection is the filter that the arguments and flags amount to.
func (o *redriveOptions) selection(ids []string) (c filter.Condition, text string, err error) {
	ways := 0
	for _, used := range []bool{len(ids) > 0, o.group != "", o.filter != "", o.resume != ""} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return c, "", usageError{errors.New("name letters, or --group, or --filter, or --resume: one of these (router dlq redrive --help)")}
	}
	if o.pace.Rate < 0 || o.pace.MaxFailures < 0 {
		return c, "", usageError{errors.New("--rate and --max-failures are not negative")}
	}
	switch {
	case o.resume != "":
		if _, err := uuid.Parse(o.resume); err != nil {
			return c, "", usageError{fmt.Errorf("--resume takes the id of a redrive, not %q", o.resume)}
		}
		return c, "", nil
	case o.group != "":
		text = "group:" + o.group
	case o.filter != "":
		text = o.filter
	default:
		var list []string
		for _, id := range ids {
			list = append(list, fmt.Sprintf("id:%q", strings.ToLower(id)+"*"))
		}
		text = strings.Join(list, " or ")
	}
	c, err = filter.Parse(text, time.Now())
	if err != nil {
		return c, text, usageError{err}
	}
	return c, text, nil
}

// maxExamples is how many letters a dry run shows one by one.
const maxExamples = 20

// judgement is one line of a dry run.
type judgement struct {
	Letter string `json:"letter"`
	Order  string `json:"orderId,omitempty"`
	router.Verdict
}

// dryRun tells what would happen to each letter.
func (d *desks) dryRun(ctx context.Context, w io.Writer, c filter.Condition, o redriveOptions) error {
	tally := map[router.Result]int{}
	var list []judgement
	for _, desk := range d.all {
		err := desk.Each(ctx, c, func(l *deadletter.Letter) error {
			v := d.flow.Judge(ctx, l)
			tally[v.Result]++
			if len(list) < maxExamples || o.output.value == "json" {
				list = append(list, judgement{l.ID, l.OrderID, v})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if o.output.value == "json" {
		return printJSON(w, map[string]any{"tally": tally, "letters": list})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LETTER\tORDER\tVERDICT")
	for _, j := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\n", j.Letter, j.Order, oneLine(j.Why, errorWidth))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d would be applied, %d ignored, %d fail again; of %d it could not be found out.\n",
		tally[router.Applied], tally[router.Ignored], tally[router.Fails], tally[router.Unknown])
	return err
}

// redrive freezes the selection, asks, and drives it to its end.
func (d *desks) redrive(ctx context.Context, cmd *cobra.Command, c filter.Condition, text string, o redriveOptions) error {
	terminal := term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
	if o.reason == "" && o.resume == "" {
		return usageError{errors.New(`--reason is needed, for instance --reason "fixed in 1.4.2"`)}
	}
	var total deadletter.Tally
	var failed bool
	for _, desk := range d.all {
		r, err := d.frozen(ctx, desk, c, text, o)
		if err != nil {
			return err
		}
		if r.Tally.Letters == 0 {
			continue
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "Redrive %s: %d letters (%s).\n", r.ID, r.Tally.Letters, r.Selection)
		if !o.yes {
			if !terminal {
				return usageError{errors.New("nobody can be asked here: --yes says that these letters are to be redriven")}
			}
			if !confirmed(cmd) {
				return errors.New("nothing was redriven")
			}
		}
		last := time.Now()
		t, err := desk.Drive(ctx, r, o.pace, func(t deadletter.Tally) {
			if terminal || time.Since(last) > progressEvery {
				last = time.Now()
				printProgress(cmd.ErrOrStderr(), t, terminal)
			}
		})
		if terminal {
			fmt.Fprintln(cmd.ErrOrStderr())
		}
		total.Add(t)
		if err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "Stopped: %d were not asked for. Those asked for go on. Take it up again with: router dlq redrive --resume %s\n", t.Waiting, r.ID)
			return err
		}
		if t.Failed > o.pace.MaxFailures {
			failed = true
			fmt.Fprintf(cmd.ErrOrStderr(), "%d failed again, so %d were not asked for. Take it up again with: router dlq redrive --resume %s\n", t.Failed, t.Waiting, r.ID)
		}
	}
	if o.output.value == "json" {
		if err := printJSON(cmd.OutOrStdout(), total); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "%d letters: %d processed, %d failed again, %d settled by others, %d not asked for.\n",
			total.Letters, total.Resolved, total.Failed, total.Gone, total.Waiting)
	}
	if failed {
		return errors.New("some letters failed again")
	}
	return nil
}

// progressEvery is how often progress is printed where it cannot be overwritten.
const progressEvery = 5 * time.Second

func (d *desks) frozen(ctx context.Context, desk *deadletter.Desk, c filter.Condition, text string, o redriveOptions) (deadletter.Redrive, error) {
	if o.resume != "" {
		return desk.FindRedrive(ctx, o.resume)
	}
	return desk.Freeze(ctx, c, text, o.reason)
}

func confirmed(cmd *cobra.Command) bool {
	fmt.Fprint(cmd.ErrOrStderr(), "Go on? [y/N] ")
	var answer string
	_, _ = fmt.Fscanln(cmd.InOrStdin(), &answer) // nothing is a no
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

// progressWidth is the bar's, in characters.
const progressWidth = 30

func printProgress(w io.Writer, t deadletter.Tally, terminal bool) {
	done := t.Resolved + t.Failed + t.Gone
	full := int(progressWidth * done / max(t.Letters, 1))
	line := fmt.Sprintf("[%s%s] %d/%d, %d failed again", strings.Repeat("=", full), strings.Repeat(" ", progressWidth-full), done, t.Letters, t.Failed)
	if terminal {
		fmt.Fprintf(w, "\r%s", line)
		return
	}
	fmt.Fprintln(w, line)
}
