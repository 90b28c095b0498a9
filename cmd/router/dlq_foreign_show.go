package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/dialect"
	"millrace/deadletter/foreign"
	"millrace/transport/kafka"
)

// foreignLine is a letter of another system as scripts see it.
type foreignLine struct {
	Place      string       `json:"place"`
	WrittenBy  dialect.Name `json:"writtenBy"`
	WrittenAt  time.Time    `json:"writtenAt"`
	RedrivenAt *time.Time   `json:"redrivenAt,omitempty"`
	RedrivenTo string       `json:"redrivenTo,omitempty"`
	deadletter.Line
}

func newForeignLine(l *foreign.Letter) foreignLine {
	line := foreignLine{Place: l.Place(), WrittenBy: l.Dialect, WrittenAt: l.Record.Time, RedrivenTo: l.SentTo, Line: deadletter.NewLine(&l.Letter)}
	line.Status = foreignStatus(l)
	if !l.SentAt.IsZero() {
		line.RedrivenAt = &l.SentAt
	}
	return line
}

func foreignShowCommand() *cobra.Command {
	var flags foreignFlags
	cmd := &cobra.Command{
		Use:   "show --topic TOPIC PLACE",
		Short: "Everything about one letter, and what a redrive would send",
		Args:  cobra.ExactArgs(1),
		Example: `  router dlq foreign show --topic orders.DLT 2@17
  router dlq foreign show --topic orders.DLT 2@17 --output json | jq .payload`,
	}
	cmd.Flags().StringVar(&flags.topic, "topic", "", "the topic of the letters (needed)")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		selection, err := flags.selection(nil)
		if err != nil {
			return err
		}
		partition, offset, err := parsePlace(args[0])
		if err != nil {
			return err
		}
		return withForeign(cmd.Context(), func(ctx context.Context, desk *foreign.Desk, _ kafka.Config) error {
			l, err := desk.Find(ctx, selection.Topic, partition, offset)
			if err != nil {
				return err
			}
			if output.value == "json" {
				return printLettersJSON(cmd.OutOrStdout(), newForeignLine(l))
			}
			return printForeign(cmd.OutOrStdout(), l)
		})
	}
	return cmd
}

// parsePlace reads a place, as in 2@17.
func parsePlace(text string) (partition int32, offset int64, err error) {
	before, after, _ := strings.Cut(text, "@")
	p, err1 := strconv.ParseUint(before, 10, 31)
	o, err2 := strconv.ParseUint(after, 10, 63)
	if err1 != nil || err2 != nil {
		return 0, 0, exit.Misuse(fmt.Errorf("%q is no place of a letter: it is like 2@17, partition 2, offset 17 (router dlq foreign list shows them)", text))
	}
	return int32(p), int64(o), nil
}

func printForeign(w io.Writer, l *foreign.Letter) error {
	p := letterPage{width: terminalWidth(w), now: time.Now()}
	p.field("letter", fmt.Sprintf("%s, id %s", l.Record.Place(), l.ID))
	status := string(foreignStatus(l))
	if !l.SentAt.IsZero() {
		status += fmt.Sprintf(" to %s, %s", l.SentTo, p.at(l.SentAt))
	}
	p.field("status", status)
	p.field("error", cmp.Or(l.Error, "-"))
	p.field("error type", cmp.Or(l.ErrorType, "-"))
	p.field("group", l.Fingerprint())
	p.field("written by", fmt.Sprintf("%s, %s", writtenBy(l.Dialect), p.at(l.Record.Time)))
	p.field("failed at", cmp.Or(strings.Join(slices.Compact([]string{l.Handler, l.Group}), ", group "), "-"))
	p.field("came from", cameFrom(l))
	p.field("key", keyText(l.Record.Key))
	p.field("attempts", fmt.Sprint(l.Attempts))
	p.body(&l.Letter)
	p.title("Headers, as they would go back; * are new")
	for _, h := range l.Original(foreign.Route{}, nil).Headers {
		mark := "  "
		if strings.HasPrefix(h.Key, deadletter.HeaderPrefix) {
			mark = "* "
		}
		p.line(mark + clean(h.Key) + ": " + headerText(h.Value))
	}
	if l.SentAt.IsZero() && l.Dialect != dialect.Ours {
		p.title("Next: " + pasteable("router", "dlq", "foreign", "redrive", "--topic", l.Record.Topic, "--to", l.Topic, "id:"+l.ID, "--dry-run"))
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

func cameFrom(l *foreign.Letter) string {
	text := l.Topic
	if l.Partition >= 0 {
		text += fmt.Sprintf(", partition %d", l.Partition)
	}
	if l.Offset >= 0 {
		text += fmt.Sprintf(", offset %d", l.Offset)
	}
	if !l.PublishedAt.IsZero() {
		text += ", written " + l.PublishedAt.Local().Format(day)
	}
	return text
}

func keyText(key []byte) string {
	if key == nil {
		return "none"
	}
	return headerText(key)
}

// headerText is a value that may be anything.
func headerText(value []byte) string {
	if !utf8.Valid(value) || bytes.ContainsRune(value, 0) {
		return fmt.Sprintf("%d bytes, %x", len(value), value[:min(len(value), binaryShown)])
	}
	return clean(string(value))
}

// binaryShown is how much of a value is shown that is no text.
const binaryShown = 32
