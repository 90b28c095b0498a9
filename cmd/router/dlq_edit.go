package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/itchyny/gojq"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/deadletter"
)

func dlqEditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "edit <letter>…",
		Short: "Give letters another body",
		Long: `Gives letters another body: one in $EDITOR, or any number by a JSON merge patch (RFC 7386) or a jq program. The new
body must be one the service can read. The message keeps its id, and the original stays beside it. Other services
that hear the topic have processed the original, and will not hear of the change.`,
		Args: cobra.MinimumNArgs(1),
		Example: `  router dlq edit 3f1c9a --reason "customer moved"
  router dlq edit 3f1c9a --patch '{"shippingAddress":{"country":"GB"}}' --reason "country was missing"
  router dlq edit 3f1c9a 77ab01 --jq '.total.amount |= round' --reason "fractions of a cent" --yes`,
	}
	patch := cmd.Flags().String("patch", "", "a JSON merge patch")
	program := cmd.Flags().String("jq", "", "a jq program that makes the new body of the old one")
	reason := cmd.Flags().String("reason", "", "why (needed)")
	yes := cmd.Flags().Bool("yes", false, "do not ask; needed where nobody can be asked")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *reason == "" {
			return usageError{errors.New(`--reason is needed, for instance --reason "country was missing"`)}
		}
		change, err := editor(*patch, *program, len(args))
		if err != nil {
			return err
		}
		terminal := term.IsTerminal(int(os.Stdin.Fd()))
		if !*yes && !terminal {
			return usageError{errors.New("nobody can be asked here: --yes says that the letters are to be changed")}
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			for _, id := range args {
				desk, l, err := d.find(ctx, id)
				if err != nil {
					return err
				}
				body, err := change(ctx, l)
				if err != nil {
					return fmt.Errorf("letter %s: %w", l.ID, err)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s", l.ID, diff(indented(l.Payload), indented(body)))
				if !*yes && !confirmed(cmd) {
					return errors.New("it was left as it is")
				}
				if err := desk.Edit(ctx, l.ID, body, *reason, d.flow.Readable); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

// editor is how the new body is made.
func editor(patch, program string, letters int) (func(context.Context, *deadletter.Letter) ([]byte, error), error) {
	switch {
	case patch != "" && program != "":
		return nil, usageError{errors.New("--patch or --jq, not both")}
	case patch != "":
		return func(_ context.Context, l *deadletter.Letter) ([]byte, error) {
			return deadletter.MergePatch(l.Payload, []byte(patch))
		}, nil
	case program != "":
		query, err := gojq.Parse(program)
		if err != nil {
			return nil, usageError{fmt.Errorf("--jq: %w", err)}
		}
		code, err := gojq.Compile(query)
		if err != nil {
			return nil, usageError{fmt.Errorf("--jq: %w", err)}
		}
		return func(ctx context.Context, l *deadletter.Letter) ([]byte, error) { return runJQ(ctx, code, l.Payload) }, nil
	case letters > 1:
		return nil, usageError{errors.New("several letters are changed by --patch or --jq; $EDITOR takes one")}
	default:
		return inEditor, nil
	}
}

// runJQ wants exactly one result.
func runJQ(ctx context.Context, code *gojq.Code, body []byte) ([]byte, error) {
	var in any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&in); err != nil {
		return nil, fmt.Errorf("the body is no JSON: %w", err)
	}
	results := code.RunWithContext(ctx, in)
	first, ok := results.Next()
	if !ok {
		return nil, errors.New("the jq program made nothing of the body")
	}
	if err, failed := first.(error); failed {
		return nil, fmt.Errorf("jq: %w", err)
	}
	if _, more := results.Next(); more {
		return nil, errors.New("the jq program made more than one body")
	}
	return gojq.Marshal(first)
}

// inEditor opens the body in $EDITOR.
func inEditor(ctx context.Context, l *deadletter.Letter) ([]byte, error) {
	program := os.Getenv("EDITOR")
	if program == "" {
		return nil, errors.New("EDITOR is not set: set it, or use --patch or --jq")
	}
	file, err := os.CreateTemp("", "letter-*.json")
	if err != nil {
		return nil, fmt.Errorf("a file for the editor: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // it may hold an address
	if _, err := file.WriteString(indented(l.Payload)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	words := strings.Fields(program)
	run := exec.CommandContext(ctx, words[0], append(words[1:], file.Name())...)
	run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := run.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	edited, err := os.ReadFile(file.Name())
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, edited); err != nil {
		return nil, fmt.Errorf("what came back is no JSON: %w", err)
	}
	return compact.Bytes(), nil
}

// indented is a body as people read it.
func indented(body []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, body, "", "  ") != nil {
		return string(body)
	}
	return out.String() + "\n"
}

// diff shows the lines that differ, with those of one side marked - and those of the other +. Lines that are the same
// at both ends are left out.
func diff(before, after string) string {
	a, b := strings.Split(strings.TrimSuffix(before, "\n"), "\n"), strings.Split(strings.TrimSuffix(after, "\n"), "\n")
	same := lcs(a, b)
	var out strings.Builder
	line := func(mark, text string) { fmt.Fprintf(&out, "  %s %s\n", mark, text) }
	i, j := 0, 0
	for _, s := range append(same, [2]int{len(a), len(b)}) {
		for ; i < s[0]; i++ {
			line("-", a[i])
		}
		for ; j < s[1]; j++ {
			line("+", b[j])
		}
		i, j = s[0]+1, s[1]+1
	}
	return out.String()
}

// lcs is a longest common subsequence, as pairs of places. Bodies have some dozen lines.
func lcs(a, b []string) [][2]int {
	longest := make([][]int, len(a)+1)
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case longest[i+1][j] >= longest[i][j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}
