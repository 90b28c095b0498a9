package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/filter"
	"millrace/deadletter/plural"
)

// exportMode is who may read an exported file: letters hold customers' data.
const exportMode = 0o600

func dlqExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export [filter…]",
		Short: "Write letters as JSON lines, with nothing lost",
		Long: `Writes letters as JSON lines, one letter a line, with nothing lost: what is neither JSON nor text is in base64. import reads
them, here or in another installation.`,
		Args: cobra.ArbitraryArgs,
		Example: `  router dlq export service:payment --file letters.jsonl
  router dlq export status:new --parked | gzip > letters.jsonl.gz
  router dlq export since:1h | jq -r .error`,
		ValidArgsFunction: completeFilter,
	}
	file := cmd.Flags().String("file", "", "write to this file, which must not exist (default: standard output)")
	parked := cmd.Flags().Bool("parked", false, "also what is parked behind the letters")
	all := addAll(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		condition, err := parseFilter(args)
		if err != nil {
			return err
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			condition := unsettled(condition, *all)
			if *file == "" {
				_, err := d.export(ctx, cmd.OutOrStdout(), condition, *parked)
				return err
			}
			n, err := d.exportFile(ctx, *file, condition, *parked)
			if err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s written to %s.\n", plural.Of(n, "line was", "lines were"), *file)
			}
			return err
		})
	}
	return cmd
}

// exportFile writes a file, whole or not at all.
func (d *desks) exportFile(ctx context.Context, name string, c filter.Condition, parked bool) (n int, err error) {
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, exportMode)
	if errors.Is(err, os.ErrExist) {
		return 0, exit.Misuse(fmt.Errorf("--file %s is there already: name another, or remove it", name))
	}
	if err != nil {
		return 0, fmt.Errorf("export letters: %w", err)
	}
	if n, err = d.export(ctx, out, c, parked); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return 0, errors.Join(err, os.Remove(name))
	}
	return n, nil
}

// export writes letters, and returns how many lines they are.
func (d *desks) export(ctx context.Context, w io.Writer, c filter.Condition, parked bool) (n int, err error) {
	buffered := bufio.NewWriter(w)
	for _, desk := range d.all {
		err := desk.Export(ctx, c, parked, func(l *deadletter.Letter) error {
			n++
			return writeLine(buffered, deadletter.NewLine(l))
		})
		if err != nil {
			return n, errors.Join(err, buffered.Flush())
		}
	}
	return n, buffered.Flush()
}

// writeLine writes one line of JSON that is safe on a terminal.
func writeLine(w io.Writer, v any) error {
	var line strings.Builder
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapeJSON(line.String()))
	return err
}
