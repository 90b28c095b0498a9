package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/filter"
	"millrace/outbox"
)

// choice are the flags and arguments that choose letters.
type choice struct {
	group, filter string
	ids           []string
}

func (c *choice) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.group, "group", "", "the letters of this group (router dlq groups)")
	cmd.Flags().StringVar(&c.filter, "filter", "", "the letters that meet this filter (router dlq --help)")
	completeFlag(cmd, "group", completeGroups)
	completeFlag(cmd, "filter", completeOneFilter)
}

// check wants exactly one way of choosing; others counts those of the command's own that were used.
func (c *choice) check(cmd *cobra.Command, ids []string, others int) error {
	c.ids = ids
	for _, used := range []bool{len(ids) > 0, c.group != "", c.filter != ""} {
		if used {
			others++
		}
	}
	if others != 1 {
		return exit.Misuse(fmt.Errorf("name letters, or choose them by --group or --filter: one of these (see %s --help)", cmd.CommandPath()))
	}
	for _, id := range ids {
		if !letterID.MatchString(id) {
			return exit.Misuse(fmt.Errorf("%q is no id of a letter: it is hexadecimal, and at least its first six digits are needed (router dlq list shows them)", id))
		}
	}
	_, err := c.parsed()
	return err
}

// text is what was chosen, as it was typed.
func (c *choice) text() string {
	switch {
	case c.group != "":
		return "group:" + c.group
	case c.filter != "":
		return c.filter
	default:
		return strings.Join(c.ids, " ")
	}
}

// parsed is the filter; none if ids are named.
func (c *choice) parsed() (filter.Condition, error) {
	if len(c.ids) > 0 {
		return filter.Condition{}, nil
	}
	parsed, err := parseWith(letterFields, c.text())
	if wrong, ok := errors.AsType[*filter.SyntaxError](err); ok && c.group != "" { // nobody has typed a filter
		return parsed, exit.Misuse(fmt.Errorf("--group: %s", wrong.Problem))
	}
	return parsed, err
}

// resolve is the condition that was chosen. Every id must be one of a letter for which fit says nothing.
func (c *choice) resolve(ctx context.Context, d *desks, fit func(*deadletter.Letter) error) (filter.Condition, error) {
	if len(c.ids) == 0 {
		return c.parsed()
	}
	ids := make(outbox.UUIDArray, len(c.ids))
	for i, id := range c.ids {
		_, l, err := d.find(ctx, id)
		if err != nil {
			return filter.Condition{}, err
		}
		if err := fit(l); err != nil {
			return filter.Condition{}, err
		}
		ids[i] = l.ID
	}
	return filter.Condition{SQL: "id = ANY($1::uuid[])", Args: []any{ids}}, nil
}

// waiting refuses a letter that nobody can have redriven.
func waiting(l *deadletter.Letter) error {
	if l.Status != deadletter.New && l.Status != deadletter.Retrying {
		return &deadletter.StatusError{ID: l.ID, Status: l.Status, Wanted: "new or retrying"}
	}
	return nil
}

// interactive tells whether somebody can be asked.
func interactive() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
}

// errNobody means: something is to be confirmed, and nobody is there.
var errNobody = exit.Misuse(errors.New("nobody can be asked here: --yes says that it is to be done"))

// confirmed asks. Nothing is a no; so is the end of ctx.
func confirmed(ctx context.Context, cmd *cobra.Command, question string) bool {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { answer <- readWord(cmd.InOrStdin()) }() // it stays behind when the process ends
	select {
	case a := <-answer:
		return strings.EqualFold(a, "y") || strings.EqualFold(a, "yes")
	case <-ctx.Done():
		fmt.Fprintln(cmd.ErrOrStderr())
		return false
	}
}

// readWord reads a line, no byte further: what comes next is for the next question.
func readWord(in io.Reader) string {
	var line []byte
	one := make([]byte, 1)
	for {
		n, err := in.Read(one)
		if n == 1 && one[0] != '\n' {
			line = append(line, one[0])
		}
		if err != nil || n == 1 && one[0] == '\n' {
			return strings.TrimSpace(string(line))
		}
	}
}
