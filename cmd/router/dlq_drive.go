package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"millrace/deadletter"
	"millrace/deadletter/filter"
	"millrace/deadletter/plural"
)

// run is a redrive's part in one database.
type run struct {
	desk    *deadletter.Desk
	redrive deadletter.Redrive
	tally   deadletter.Tally // as far as it has come
	shares  []deadletter.Share
}

// runs is a redrive, in all databases.
type runs []*run

func (rs runs) tally() (t deadletter.Tally) {
	for _, r := range rs {
		t.Add(r.tally)
	}
	return t
}

// services are those whose letters are among them.
func (r *run) services() (names []string) {
	for _, s := range r.shares {
		if s.Service != "" && !slices.Contains(names, s.Service) {
			names = append(names, s.Service)
		}
	}
	return names
}

func (rs runs) services() (names []string) {
	for _, r := range rs {
		names = append(names, r.services()...)
	}
	return names
}

func (rs runs) shares() (list []deadletter.Share) {
	for _, r := range rs {
		list = append(list, r.shares...)
	}
	return list
}

// redrive freezes the selection, or takes it up again, shows it, asks, and drives it to its end.
func (d *desks) redrive(ctx context.Context, cmd *cobra.Command, c filter.Condition, o redriveOptions) error {
	rs, err := d.frozen(ctx, c, o)
	if err != nil {
		return err
	}
	if len(rs) == 0 {
		if o.resume != "" {
			return fmt.Errorf("there is no redrive %s (router dlq redrives lists them)", o.resume)
		}
		if o.output.value == "json" {
			return printLettersJSON(cmd.OutOrStdout(), outcomeJSON{Groups: []deadletter.Share{}})
		}
		printNoneChosen(cmd.OutOrStdout(), "new or retrying")
		return nil
	}
	if err := rs.show(ctx, cmd.ErrOrStderr(), o.resume != ""); err != nil {
		return errors.Join(err, rs.discard(ctx))
	}
	if !o.yes && o.resume == "" && !confirmed(ctx, cmd, "Redrive them?") {
		return errors.Join(errors.New("nothing was redriven"), rs.discard(ctx))
	}
	begin := time.Now()
	if rs.tally().Left() > 0 {
		err = d.drive(ctx, cmd, rs, o)
	}
	// The end is told after an interruption as well.
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	return rs.end(rest, cmd, o, err, time.Since(begin))
}

// discard forgets what nobody agreed to; after an interruption too.
func (rs runs) discard(ctx context.Context) (err error) {
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	for _, r := range rs {
		err = errors.Join(err, r.desk.Discard(rest, r.redrive.ID))
	}
	return err
}

// endLimit is how long the last look at a redrive may take.
const endLimit = 10 * time.Second

// frozen notes what was chosen; nothing where no letter was.
func (d *desks) frozen(ctx context.Context, c filter.Condition, o redriveOptions) (rs runs, err error) {
	id := uuid.NewString()
	for _, desk := range d.all {
		r := &run{desk: desk}
		if o.resume != "" {
			r.redrive, err = desk.FindRedrive(ctx, o.resume)
		} else {
			r.redrive, err = desk.FreezeAs(ctx, id, c, o.text(), o.reason)
		}
		if err != nil {
			return nil, err
		}
		if r.tally = r.redrive.Tally; r.tally.Letters == 0 {
			continue
		}
		if r.shares, err = desk.Shares(ctx, r.redrive.ID); err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// firstShown is how many letters of a selection are shown.
const firstShown = 3

// show tells what was chosen.
func (rs runs) show(ctx context.Context, w io.Writer, again bool) error {
	t, r := rs.tally(), rs[0].redrive
	fmt.Fprintf(w, "Redrive %s: %s (%s)\n", r.ID, plural.Of(t.Letters, "letter", "letters"), oneLine(r.Selection, pipeText))
	if again {
		left := "nothing is left to ask for"
		if t.Left() > 0 {
			left = plural.Of(t.Left(), "is", "are") + " left"
		}
		fmt.Fprintf(w, "It was begun by %s %s; %s.\n", r.Who, ago(time.Now(), r.CreatedAt), left)
	}
	groups := table{below: groupLines, columns: []column{{name: "LETTERS", right: true}, {name: "SERVICE"}, {name: "GROUP"}, {name: "ERROR"}}}
	for _, s := range rs.shares() {
		groups.add(fmt.Sprint(s.Letters), s.Service, s.Fingerprint, s.Error)
	}
	if err := groups.print(w, terminalWidth(w)); err != nil {
		return err
	}
	var first []string
	for _, r := range rs {
		list, err := r.desk.First(ctx, r.redrive.ID, firstShown)
		if err != nil {
			return err
		}
		for _, l := range list {
			first = append(first, shortID(l.ID))
		}
	}
	first = first[:min(len(first), firstShown)]
	_, err := fmt.Fprintf(w, "The first: %s\n", strings.Join(first, " "))
	return err
}

// drive asks for all, one database after the other.
func (d *desks) drive(ctx context.Context, cmd *cobra.Command, rs runs, o redriveOptions) (err error) {
	for _, r := range rs { // all of them, whatever happens to the first: --resume takes up the rest
		if err := r.desk.Begin(ctx, r.redrive.ID); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.here {
		stop, notHere := d.here(ctx, rs.services())
		if notHere != nil {
			return notHere
		}
		defer func() { err = errors.Join(err, stop(ctx, rs)) }()
	}
	bar := newProgress(cmd.ErrOrStderr())
	defer bar.end()
	failures := int64(0)
	for _, r := range rs {
		before := r.tally.Failed
		pace := o.pace
		if pace.MaxFailures -= failures; pace.MaxFailures < 0 {
			return nil
		}
		guard := attendance{desk: r.desk, services: r.services(), cancel: cancel, tell: bar.say, begin: time.Now()}
		t, err := r.desk.Drive(ctx, r.redrive, pace, func(t deadletter.Tally) {
			r.tally = t
			bar.show(rs.tally())
			guard.look(ctx, t)
		})
		if err != nil {
			return err
		}
		r.tally = t
		bar.show(rs.tally())
		failures += t.Failed - before
	}
	return nil
}

// outcomeJSON is what redrive prints with --output json.
type outcomeJSON struct {
	Redrive string             `json:"redrive,omitempty"`
	Tally   deadletter.Tally   `json:"tally"`
	Groups  []deadletter.Share `json:"groups"`
}

// look reads how far it has come.
func (rs runs) look(ctx context.Context) error {
	for _, r := range rs {
		found, err := r.desk.FindRedrive(ctx, r.redrive.ID)
		if err != nil {
			return err
		}
		shares, err := r.desk.Shares(ctx, r.redrive.ID)
		if err != nil {
			return err
		}
		r.tally, r.shares = found.Tally, shares
	}
	return nil
}

// end tells how it went; the error is what the command fails with. Where the database is gone, that is what was seen last.
func (rs runs) end(ctx context.Context, cmd *cobra.Command, o redriveOptions, driven error, took time.Duration) error {
	id := rs[0].redrive.ID
	outcome := outcomeJSON{Redrive: id, Groups: []deadletter.Share{}}
	err := rs.look(ctx)
	if driven == nil {
		driven = err
	}
	t := rs.tally()
	outcome.Tally = t
	switch {
	case o.output.value == "json":
		if err == nil {
			outcome.Groups = rs.shares()
		}
		err = printLettersJSON(cmd.OutOrStdout(), outcome)
	case err != nil:
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "As far as was seen: %s\n", summary(t, took))
	default:
		err = rs.printEnd(cmd.OutOrStdout(), t, took)
	}
	if err != nil {
		return err
	}
	if t.Held > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s behind a letter of the same order that was not redriven, or failed again; what is held goes on when that one is redriven or dropped.\n", plural.Of(t.Held, "waits", "wait"))
	}
	if t.Left() > 0 {
		again := []string{"router", "dlq", "redrive", "--resume", id}
		if errors.Is(driven, errUnattended) {
			again = append(again, "--here")
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s not asked for", plural.Of(t.Waiting, "was", "were"))
		if t.Asked > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), ", %s", plural.Of(t.Asked, "was and goes on by itself", "were and go on by themselves"))
		}
		fmt.Fprintf(cmd.ErrOrStderr(), ". To go on: %s\n", pasteable(again...))
	}
	switch done := t.Resolved + t.Gone; {
	case driven != nil:
		return driven
	case done < t.Letters:
		return fmt.Errorf("%d of %s %s not processed", t.Letters-done, plural.Of(t.Letters, "letter", "letters"), plural.Word(t.Letters-done, "was", "were"))
	default:
		return nil
	}
}

func (rs runs) printEnd(w io.Writer, total deadletter.Tally, took time.Duration) error {
	t := table{below: groupLines, columns: []column{{name: "SERVICE"}, {name: "GROUP"}, {name: "LETTERS", right: true}, {name: "PROCESSED", right: true}, {name: "FAILED", right: true},
		{name: "HELD", right: true}, {name: "SETTLED", right: true, spare: true}, {name: "LEFT", right: true}, {name: "ERROR"}}}
	for _, s := range rs.shares() {
		t.add(s.Service, s.Fingerprint, fmt.Sprint(s.Letters), fmt.Sprint(s.Resolved), fmt.Sprint(s.Failed), fmt.Sprint(s.Held), fmt.Sprint(s.Gone), fmt.Sprint(s.Left()), s.Error)
	}
	if err := t.print(w, terminalWidth(w)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", summary(total, took))
	return err
}

// summary is what became of the letters, in a sentence.
func summary(t deadletter.Tally, took time.Duration) string {
	processed := fmt.Sprintf("%d processed", t.Resolved)
	if t.Unchanged > 0 {
		processed += fmt.Sprintf(" (%d of them changed nothing)", t.Unchanged)
	}
	return fmt.Sprintf("%s in %s: %s, %d failed again, %d held, %d settled otherwise, %d left.",
		plural.Of(t.Letters, "letter", "letters"), took.Round(time.Second/10), processed, t.Failed, t.Held, t.Gone, t.Left())
}
