package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"millrace/deadletter"
	"millrace/router"
)

// letterJSON is a letter as scripts see it.
type letterJSON struct {
	ID            string            `json:"id"`
	Status        deadletter.Status `json:"status"`
	Group         string            `json:"group"`
	Service       string            `json:"service"`
	ConsumerGroup string            `json:"consumerGroup"`
	Handler       string            `json:"handler"`
	OrderID       string            `json:"orderId,omitempty"`
	MessageID     string            `json:"messageId"`
	CorrelationID string            `json:"correlationId,omitempty"`
	Topic         string            `json:"topic"`
	Partition     int32             `json:"partition"`
	Offset        int64             `json:"offset"`
	Key           []byte            `json:"key,omitempty"`
	Headers       map[string]string `json:"headers"`
	Payload       any               `json:"payload"` // the body as JSON; base64 where it is none
	PublishedAt   time.Time         `json:"publishedAt"`
	Attempts      int               `json:"attempts"`
	ErrorType     string            `json:"errorType"`
	Error         string            `json:"error"`
	FirstFailed   time.Time         `json:"firstFailed"`
	LastFailed    time.Time         `json:"lastFailed"`
	Version       string            `json:"version"`
	Position      int64             `json:"position,omitempty"`
	Behind        *int64            `json:"parkedBehind,omitempty"`
}

func toJSON(l *deadletter.Letter) letterJSON {
	out := letterJSON{
		ID: l.ID, Status: l.Status, Group: l.Fingerprint(), Service: l.Service, ConsumerGroup: l.Group, Handler: l.Handler, OrderID: l.OrderID,
		MessageID: l.MessageID, CorrelationID: l.CorrelationID, Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Key: l.Key,
		Headers: l.Headers, Payload: l.Payload, PublishedAt: l.PublishedAt, Attempts: l.Attempts, ErrorType: l.ErrorType, Error: l.Error,
		FirstFailed: l.FirstFailed, LastFailed: l.LastFailed, Version: l.Version,
	}
	if json.Valid(l.Payload) {
		out.Payload = json.RawMessage(l.Payload)
	}
	return out
}

func listJSON(list []deadletter.Listed) []letterJSON {
	out := make([]letterJSON, len(list))
	for i := range list {
		out[i] = toJSON(&list[i].Letter)
		out[i].Position, out[i].Behind = list[i].Position, &list[i].Behind
	}
	return out
}

// shown is all there is to say of a letter.
type shown struct {
	letterJSON
	Verdict *router.Verdict   `json:"verdict,omitempty"`
	Lane    []letterJSON      `json:"lane"`
	Steps   []deadletter.Step `json:"steps"`
}

func dlqShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show <letter>",
		Short: "Everything about one letter, and what a redrive would do now",
		Args:  cobra.ExactArgs(1),
		Example: `  router dlq show 3f1c9a
  router dlq show 3f1c9a --output json | jq .verdict`,
	}
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			desk, l, err := d.find(ctx, args[0])
			if err != nil {
				return err
			}
			s := shown{letterJSON: toJSON(l)}
			lane, err := desk.Lane(ctx, l)
			if err != nil {
				return err
			}
			for _, other := range lane {
				s.Lane = append(s.Lane, toJSON(other))
			}
			if s.Steps, err = desk.Steps(ctx, l.ID); err != nil {
				return err
			}
			if l.Status.Open() {
				v := d.flow.Judge(ctx, l)
				s.Verdict = &v
			}
			if output.value == "json" {
				return printJSON(cmd.OutOrStdout(), s)
			}
			return printShown(cmd.OutOrStdout(), s, l, time.Now())
		})
	}
	return cmd
}

func printShown(w io.Writer, s shown, l *deadletter.Letter, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"letter", s.ID}, {"status", string(s.Status)}, {"group", s.Group}, {"service", s.Service + ", group " + s.ConsumerGroup},
		{"order", cmp.Or(s.OrderID, "none: its key is no order id, or the message is not readable")},
		{"message", s.MessageID + ", from " + fmt.Sprintf("%s/%d@%d", s.Topic, s.Partition, s.Offset)},
		{"correlation", cmp.Or(s.CorrelationID, "-")},
		{"published", s.PublishedAt.Format(time.RFC3339Nano)},
		{"failed", fmt.Sprintf("%d times, first %s (%s), last %s (%s)", s.Attempts, s.FirstFailed.Format(time.RFC3339), ago(now, s.FirstFailed), s.LastFailed.Format(time.RFC3339), ago(now, s.LastFailed))},
		{"build", cmp.Or(s.Version, "-")},
		{"error", oneLine(s.Error, len(s.Error)+1)}, {"", "(" + s.ErrorType + ")"},
	} {
		fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
	}
	if s.Verdict != nil {
		fmt.Fprintf(t, "verdict\t%s\n", oneLine(s.Verdict.Why, len(s.Verdict.Why)+1))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nHeaders")
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		fmt.Fprintf(w, "  %s: %s\n", oneLine(name, len(name)+1), oneLine(s.Headers[name], len(s.Headers[name])+1))
	}
	fmt.Fprintln(w, "\nBody")
	var body bytes.Buffer
	if json.Indent(&body, l.Payload, "  ", "  ") == nil {
		fmt.Fprintf(w, "  %s\n", body.String())
	} else {
		fmt.Fprintf(w, "  %d bytes that are no JSON: %s\n", len(l.Payload), oneLine(fmt.Sprintf("%q", l.Payload), bodyWidth))
	}
	fmt.Fprintln(w, "\nIts place among the order's messages at this service")
	for i, m := range s.Lane {
		mark := " "
		if m.ID == s.ID {
			mark = "→"
		}
		fmt.Fprintf(w, "%s %3d  %-9s  %s  %s\n", mark, i+1, m.Status, m.Topic, m.ID)
	}
	if len(s.Lane) == 0 {
		fmt.Fprintln(w, "  Nothing waits.")
	}
	if len(s.Steps) > 0 {
		fmt.Fprintln(w, "\nWhat was done")
	}
	for _, step := range s.Steps {
		fmt.Fprintf(w, "  %s  %-13s  %s  %s\n", step.At.Format(time.RFC3339), step.Action, step.Who, oneLine(step.Reason, errorWidth))
	}
	return nil
}

// bodyWidth is how much of a body is shown that is no JSON.
const bodyWidth = 2000
