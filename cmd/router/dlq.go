package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/config"
	"millrace/deadletter"
	"millrace/deadletter/filter"
)

func dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters, and decide what becomes of them",
		Long: `Look at dead letters, and decide what becomes of them. It works on the databases (the same settings as
serve's, or those of the router that runs on this machine) and needs no router that runs.

A letter is named by its id, or by the first six digits of it. A filter is a list of conditions, which must
all hold; "or", "not" and parentheses are as usual:

  service:payment since:2h               of one service, of the last two hours
  error~"no such account"                text in the error, whatever the case
  status:new not topic:*.cancelled       * stands for anything
  body.total.amount>=10000               a place in the event's body
  c-4711                                 text anywhere: error, ids, body

Fields: ` + strings.Join(filter.Fields(), ", ") + `.

What has been settled (resolved or dropped) is left out, unless --all is given or the filter asks for a status.
Decisions are noted with who took them: the user and the host, or what DLQ_USER says.

Exit codes: 0 done, 1 not done or not wholly, 2 a mistake in the command, 130 interrupted.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		dlqGroupsCommand(),
		dlqListCommand(),
		dlqShowCommand(),
		dlqWatchCommand(),
		dlqRedriveCommand(),
		dlqRedrivesCommand(),
		dlqEditCommand(),
		dlqDropCommand(),
		dlqRestoreCommand(),
		dlqResumeCommand(),
		dlqExportCommand(),
		dlqImportCommand(),
		dlqUICommand(),
		dlqReindexCommand(),
		dlqForeignCommand(),
	)
	completeOthers(cmd)
	return cmd
}

// userSetting names who decides, where the operating system's user says little: a shared account, a job.
const userSetting = "DLQ_USER"

// maxUser is how much of a name an audit keeps.
const maxUser = 100

// whoAmI is who decides, as an audit should name them.
func whoAmI() string {
	if name := oneLine(os.Getenv(userSetting), maxUser); name != "" {
		return name
	}
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return oneLine(name, maxUser)
}

// letterFields are the fields of our letters that have few values.
var letterFields = filter.Closed{"service": config.AllServices(), "status": letterStatuses()}

func letterStatuses() (list []string) {
	for _, s := range deadletter.Letters() {
		list = append(list, string(s))
	}
	return list
}

// parseFilter reads a filter for our letters from the arguments.
func parseFilter(args []string) (filter.Condition, error) {
	return parseWith(letterFields, strings.Join(args, " "))
}

// parseWith reads a filter for letters whose fields have those values.
func parseWith(closed filter.Closed, text string) (filter.Condition, error) {
	c, err := closed.Parse(text, time.Now())
	return c, filterError(text, err)
}

// filterError shows the place a filter is wrong at.
func filterError(text string, err error) error {
	wrong, ok := errors.AsType[*filter.SyntaxError](err)
	if !ok {
		return err
	}
	const around = 40 // characters shown before the place
	runes := []rune(text)
	at := min(len([]rune(text[:min(wrong.At, len(text))])), len(runes))
	from := max(0, at-around)
	shown := clean(string(runes[from:at]))
	if from < at && runes[at-1] == ' ' {
		shown += " " // it was cut off
	}
	return exit.Misuse(fmt.Errorf("%w\n  %s%s\n  %s^", err, shown, oneLine(string(runes[at:]), around), strings.Repeat(" ", displayWidth(shown))))
}

// unsettled narrows a filter to letters that wait, unless it asks for a status or all are wanted.
func unsettled(c filter.Condition, all bool) filter.Condition {
	if all || c.Status {
		return c
	}
	c.SQL = "(" + c.SQL + ") AND status IN ('new', 'retrying', 'redriving')"
	return c
}

// addAll adds the flag --all.
func addAll(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("all", false, "also what has been settled: resolved or dropped")
}

// letterID is an id, or the beginning of one.
var letterID = regexp.MustCompile(`^[0-9a-fA-F]{6}[0-9a-fA-F-]{0,30}$`)

// find returns the letter with that id, or the only one whose id begins so, and where it is.
func (d *desks) find(ctx context.Context, id string) (desk *deadletter.Desk, letter *deadletter.Letter, err error) {
	if !letterID.MatchString(id) {
		return nil, nil, exit.Misuse(fmt.Errorf("%q is no id of a letter: it is hexadecimal, and at least its first six digits are needed (router dlq list shows them)", id))
	}
	for _, candidate := range d.all {
		l, err := candidate.Find(ctx, id)
		switch {
		case errors.Is(err, deadletter.ErrNoLetter):
		case err != nil:
			return nil, nil, err
		case letter != nil:
			return nil, nil, fmt.Errorf("letter %s: several begin like that, %s and %s for instance: type more of it", id, letter.ID, l.ID)
		default:
			desk, letter = candidate, l
		}
	}
	if letter == nil {
		return nil, nil, fmt.Errorf("letter %s: %w; router dlq list shows them", id, deadletter.ErrNoLetter)
	}
	return desk, letter, nil
}
