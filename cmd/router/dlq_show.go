package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"millrace/deadletter"
	"millrace/router"
)

// letterJSON is a letter as scripts see it: as in an export, but that a body is JSON whenever it can be.
type letterJSON struct {
	deadletter.Line
	Behind *int64 `json:"parkedBehind,omitempty"`
}

func toJSON(l *deadletter.Letter) letterJSON {
	out := letterJSON{Line: deadletter.NewLine(l)}
	if out.Text != nil && json.Valid(l.Payload) {
		out.JSON, out.Text = l.Payload, nil
	}
	return out
}

// shown is all there is to say of a letter.
type shown struct {
	letterJSON
	Verdict *router.Verdict `json:"verdict,omitempty"` // of one that waits
	// Lane are the order's messages at this service that wait, in order, this one included.
	Lane  []letterJSON      `json:"lane"`
	Steps []deadletter.Step `json:"steps"`
	// Story is the order's history as the order service has it; StoryMissing says why there is none.
	Story        []storyJSON `json:"story,omitempty"`
	StoryMissing string      `json:"storyMissing,omitempty"`
}

func dlqShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show <letter>",
		Short: "Everything about one letter, and what a redrive would do now",
		Long: `Shows everything about one letter: what failed and how, the order's story around it, what is parked behind it, what was
done to it, and what a redrive would do now. That is found out by running the reaction in a transaction that
is rolled back.`,
		Args: cobra.ExactArgs(1),
		Example: `  router dlq show 3f1c9a
  router dlq show 3f1c9a --output json | jq .verdict`,
		ValidArgsFunction: completeLetters(""),
	}
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			desk, l, err := d.find(ctx, args[0])
			if err != nil {
				return err
			}
			s, err := d.shown(ctx, desk, l)
			if err != nil {
				return err
			}
			if output.value == "json" {
				return printLettersJSON(cmd.OutOrStdout(), s)
			}
			return printShown(cmd.OutOrStdout(), s, l)
		})
	}
	return cmd
}

func (d *desks) shown(ctx context.Context, desk *deadletter.Desk, l *deadletter.Letter) (s shown, err error) {
	s = shown{letterJSON: toJSON(l), Lane: []letterJSON{}, Steps: []deadletter.Step{}}
	lane, err := desk.Lane(ctx, l)
	if err != nil {
		return s, err
	}
	behind := int64(0)
	for _, other := range lane {
		s.Lane = append(s.Lane, toJSON(other))
		if l.Status.Open() && other.Status == deadletter.Parked && other.Position > l.Position {
			behind++
		}
	}
	s.Behind = &behind
	steps, err := desk.Steps(ctx, l.ID)
	if err != nil {
		return s, err
	}
	s.Steps = append(s.Steps, steps...)
	if l.Status.Open() {
		v := d.flow.Judge(ctx, l)
		s.Verdict = &v
	}
	s.Story, s.StoryMissing = d.story(ctx, l)
	return s, nil
}
