package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/filter"
	"millrace/deadletter/plural"
)

// editOptions are the flags of dlq edit.
type editOptions struct {
	choice
	patch, program, reason string
	dryRun, yes            bool
}

func dlqEditCommand() *cobra.Command {
	var o editOptions
	cmd := &cobra.Command{
		Use:   "edit [letter…]",
		Short: "Give letters another body",
		Long: `Gives letters another body: one in $VISUAL or $EDITOR, or any number by a JSON merge patch (RFC 7386) or a jq
program. The new body must be one the service can read. The message keeps its id, the original stays beside it, and
the letter's story tells who changed what. Other services that hear the topic have processed the
original, and will not hear of the change.`,
		Args: cobra.ArbitraryArgs,
		Example: `  router dlq edit 3f1c9a --reason "customer moved"
  router dlq edit 3f1c9a --patch '{"shippingAddress":{"country":"GB"}}' --reason "country was missing"
  router dlq edit --group a1b2c3d4e5f6 --jq '.total.amount |= round' --dry-run
  router dlq edit --group a1b2c3d4e5f6 --jq '.total.amount |= round' --reason "fractions of a cent" --yes`,
		ValidArgsFunction: completeLetters("status:new or status:retrying"),
	}
	o.addFlags(cmd)
	cmd.Flags().StringVar(&o.patch, "patch", "", "a JSON merge patch")
	cmd.Flags().StringVar(&o.program, "jq", "", "a jq program that makes the new body of the old one")
	cmd.Flags().StringVar(&o.reason, "reason", "", "why (needed)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only show what would change")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask; needed where nobody can be asked")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(cmd, args, 0); err != nil {
			return err
		}
		change, err := o.change()
		if err != nil {
			return err
		}
		if o.reason == "" && !o.dryRun {
			return exit.Misuse(errors.New(`--reason is needed, for instance --reason "country was missing"`))
		}
		if !o.yes && !o.dryRun && !interactive() {
			return errNobody
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			c, err := o.resolve(ctx, d, waiting)
			if err != nil {
				return err
			}
			if change == nil {
				return d.editOne(ctx, cmd, o)
			}
			return d.editMany(ctx, cmd, c, change, o)
		})
	}
	return cmd
}

// editOne has one letter edited in the editor, until the service can read what comes back, or whoever edits gives up.
func (d *desks) editOne(ctx context.Context, cmd *cobra.Command, o editOptions) error {
	desk, l, err := d.find(ctx, o.ids[0])
	if err != nil {
		return err
	}
	text := []byte(indented(l.Payload))
	for {
		if text, err = inEditor(text); err != nil {
			return err
		}
		// A Ctrl-C in the editor was meant for the editor.
		again, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
		defer stop()
		body, err := compacted(text)
		if err == nil {
			err = d.readable(l, body)
		}
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "router:", oneLine(err.Error(), pipeText))
			if !confirmed(again, cmd, "Edit it again?") {
				return errors.New("it was left as it is")
			}
			continue
		}
		if normal(body) == normal(l.Payload) {
			return errors.New("nothing was changed: it was left as it is")
		}
		fmt.Fprint(cmd.OutOrStdout(), diff(normal(l.Payload), normal(body)))
		if o.dryRun {
			return nil
		}
		if !o.yes && !confirmed(again, cmd, "Write it?") {
			return errors.New("it was left as it is")
		}
		if err := desk.Edit(again, l.ID, body, o.reason, d.flow.Readable); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s edited\n", l.ID)
		return nil
	}
}

// readable tells whether the service could read a letter with that body.
func (d *desks) readable(l *deadletter.Letter, body []byte) error {
	edited := *l
	edited.Payload = body
	return d.flow.Readable(&edited)
}

// diffsShown is how many of many changes are shown before they are confirmed.
const diffsShown = 3

// refusalsShown is how many of many refusals are told: they are mostly alike.
const refusalsShown = 20

// editMany looks first whether all letters can be changed, and changes all or none; what fails after all is told.
func (d *desks) editMany(ctx context.Context, cmd *cobra.Command, c filter.Condition, change change, o editOptions) error {
	var list []found
	same, refused := 0, 0
	for _, desk := range d.all {
		err := desk.Each(ctx, c, func(l *deadletter.Letter) error {
			body, err := change(ctx, l.Payload)
			if err == nil {
				err = d.readable(l, body)
			}
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				if refused++; refused <= refusalsShown {
					fmt.Fprintf(cmd.ErrOrStderr(), "router: letter %s: %s\n", l.ID, oneLine(err.Error(), pipeText))
				}
			case normal(body) == normal(l.Payload):
				same++
			default:
				if len(list) < diffsShown {
					fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s", l.ID, diff(normal(l.Payload), normal(body)))
				}
				list = append(list, found{desk, &deadletter.Letter{ID: l.ID}})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if refused > refusalsShown {
		fmt.Fprintf(cmd.ErrOrStderr(), "router: … and %s that cannot be changed so\n", plural.Of(refused-refusalsShown, "more letter", "more letters"))
	}
	if len(list) > diffsShown {
		fmt.Fprintf(cmd.ErrOrStderr(), "These are the first %d.\n", diffsShown)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s, %s the same, %d cannot be changed so.\n",
		plural.Of(len(list), "letter would change", "letters would change"), plural.Of(same, "stays", "stay"), refused)
	switch {
	case refused > 0:
		return errors.New("nothing was changed: choose only letters that can be, or another change")
	case o.dryRun || len(list) == 0:
		return nil
	case !o.yes && !confirmed(ctx, cmd, "Write them?"):
		return errors.New("nothing was changed")
	}
	return d.write(ctx, cmd, list, change, o)
}

// write changes the letters, each as it is by now.
func (d *desks) write(ctx context.Context, cmd *cobra.Command, list []found, change change, o editOptions) error {
	failed := 0
	for _, f := range list {
		l, err := f.desk.Find(ctx, f.letter.ID)
		var body []byte
		if err == nil {
			body, err = change(ctx, l.Payload)
		}
		if err == nil {
			err = f.desk.Edit(ctx, l.ID, body, o.reason, d.flow.Readable)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failed++
			fmt.Fprintln(cmd.ErrOrStderr(), "router:", oneLine(err.Error(), pipeText))
		default:
			fmt.Fprintf(cmd.OutOrStdout(), "%s edited\n", f.letter.ID)
		}
	}
	if failed > 0 {
		return leftAsTheyAre(failed, len(list))
	}
	return nil
}
