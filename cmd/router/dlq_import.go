package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/plural"
	"millrace/outbox"
)

func dlqImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [file]",
		Short: "Read letters that an export wrote, here or elsewhere",
		Long: `Reads letters that an export wrote, from a file or from standard input. Those that are known here, waiting or
settled, are left alone; the others become letters that wait, each in its order's lane, and whatever comes
of the order waits behind them. Settled letters are left out. A line that cannot be read is told by its
number, and keeps no other from being read.`,
		Args: cobra.MaximumNArgs(1),
		Example: `  router dlq import letters.jsonl --reason "moved from the old installation"
  zcat letters.jsonl.gz | router dlq import --reason "restored from a backup"`,
	}
	reason := cmd.Flags().String("reason", "", "why, for the letters' story (needed)")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *reason == "" {
			return exit.Misuse(errors.New(`--reason is needed, for instance --reason "restored from a backup"`))
		}
		in := cmd.InOrStdin()
		if len(args) == 1 && args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return exit.Misuse(err)
			}
			defer file.Close()
			in = file
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			i := importer{desks: d, reason: *reason, complain: cmd.ErrOrStderr()}
			err := i.read(ctx, in)
			if output.value == "json" {
				err = errors.Join(err, printLettersJSON(cmd.OutOrStdout(), i.count))
			} else {
				_, printed := fmt.Fprintf(cmd.OutOrStdout(), "%s imported, %s known, %s left out; %s not be imported.\n",
					plural.Of(i.count.Imported, "letter was", "letters were"), plural.Of(i.count.Known, "was", "were"),
					plural.Of(i.count.Settled, "settled one was", "settled ones were"), plural.Of(i.count.Refused, "line could", "lines could"))
				err = errors.Join(err, printed)
			}
			if err == nil && i.count.Refused > 0 {
				err = fmt.Errorf("%s not be imported", plural.Of(i.count.Refused, "line could", "lines could"))
			}
			return err
		})
	}
	return cmd
}

// importCount is what import prints with --output json.
type importCount struct {
	Imported int `json:"imported"`
	Known    int `json:"known"`   // here already, and left alone
	Settled  int `json:"settled"` // where they come from, and left out
	Refused  int `json:"refused"` // told on stderr
}

// importer reads lines and imports them in batches, each of one service.
type importer struct {
	desks    *desks
	reason   string
	complain io.Writer
	count    importCount

	service string
	batch   []*deadletter.Letter
	lines   []int
}

// maxLine is more than the largest letter takes: 4 MiB of body, or twice that after an edit, in base64, and its headers.
const maxLine = 32 << 20

func (i *importer) read(ctx context.Context, in io.Reader) error {
	reader := bufio.NewReader(in)
	for number := 1; ; number++ {
		text, whole, err := readLine(reader, maxLine)
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(i.flush(ctx), fmt.Errorf("line %d: %w", number, err))
		}
		ended := err != nil
		switch {
		case !whole:
			i.refuse(number, fmt.Errorf("it is longer than %d bytes", maxLine))
		case len(text) > 0:
			if err := i.line(ctx, number, text); err != nil {
				return err
			}
		}
		if ended {
			return i.flush(ctx)
		}
	}
}

// readLine reads up to the end of a line. Of one that is longer than most only the end is looked for.
func readLine(r *bufio.Reader, most int) (line []byte, whole bool, err error) {
	whole = true
	for {
		part, more, err := r.ReadLine()
		if err != nil {
			return line, whole, err
		}
		if len(line)+len(part) > most {
			line, whole = nil, false
		}
		if whole {
			line = append(line, part...)
		}
		if !more {
			return line, whole, nil
		}
	}
}

func (i *importer) refuse(number int, err error) {
	i.count.Refused++
	fmt.Fprintf(i.complain, "router: line %d: %s\n", number, oneLine(err.Error(), pipeText))
}

// line adds a line to the batch, which is imported when it is full, or when another service's letters begin.
func (i *importer) line(ctx context.Context, number int, text []byte) error {
	var line deadletter.Line
	if err := json.Unmarshal(text, &line); err != nil {
		i.refuse(number, fmt.Errorf("it is no letter: %w", err))
		return nil
	}
	l, err := line.Letter()
	if err == nil {
		err = i.desks.hears(l)
	}
	switch {
	case err != nil:
		i.refuse(number, err)
		return nil
	case !l.Status.Open():
		i.count.Settled++
		return nil
	}
	if l.Service != i.service || len(i.batch) == deadletter.MaxImport {
		if err := i.flush(ctx); err != nil {
			return err
		}
	}
	i.service = l.Service
	i.batch, i.lines = append(i.batch, l), append(i.lines, number)
	return nil
}

// hears tells whether a letter's service would hear its message again.
func (d *desks) hears(l *deadletter.Letter) error {
	for _, s := range d.flow {
		if s.Name != l.Service {
			continue
		}
		if s.Group() != l.Group {
			return fmt.Errorf("consumerGroup is %q, but that of %s is %q", l.Group, s.Name, s.Group())
		}
		if !slices.Contains(s.Topics(), l.Topic) {
			return fmt.Errorf("%s does not hear topic %q", s.Name, l.Topic)
		}
		if d.desk(l.Service) == nil {
			return fmt.Errorf("the database of %s is not among those that are configured here", l.Service)
		}
		return nil
	}
	return fmt.Errorf("there is no service %q", l.Service)
}

// desk is where a service's letters are decided about; nil if its database is not here.
func (d *desks) desk(service string) *deadletter.Desk {
	for _, desk := range d.all {
		if slices.Contains(desk.Services(), service) {
			return desk
		}
	}
	return nil
}

// flush imports the batch. Should the database refuse it, its letters are imported one by one: only the guilty are left out.
func (i *importer) flush(ctx context.Context) error {
	batch, lines := i.batch, i.lines
	i.batch, i.lines = nil, nil
	if len(batch) == 0 {
		return nil
	}
	desk := i.desks.desk(i.service)
	added, err := desk.Import(ctx, i.service, batch, i.reason)
	if err == nil {
		i.count.Imported += len(added)
		i.count.Known += len(batch) - len(added)
		return nil
	}
	if outbox.IsTransient(err) { // no letter's fault: what was imported is known the next time
		return err
	}
	for at, l := range batch {
		added, err := desk.Import(ctx, i.service, []*deadletter.Letter{l}, i.reason)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			i.refuse(lines[at], err)
		default:
			i.count.Imported += len(added)
			i.count.Known += 1 - len(added)
		}
	}
	return nil
}
