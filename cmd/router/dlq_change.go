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

	"millrace/cmd/exit"
	"millrace/deadletter"
)

// change makes a new body of an old one.
type change func(ctx context.Context, body []byte) ([]byte, error)

// change is how the new bodies are made; nil: in an editor.
func (o *editOptions) change() (change, error) {
	switch {
	case o.patch != "" && o.program != "":
		return nil, exit.Misuse(errors.New("--patch or --jq, not both"))
	case o.patch != "":
		if !json.Valid([]byte(o.patch)) {
			return nil, exit.Misuse(fmt.Errorf("--patch is no JSON: %s", oneLine(o.patch, pipeText)))
		}
		return func(_ context.Context, body []byte) ([]byte, error) {
			return deadletter.MergePatch(body, []byte(o.patch))
		}, nil
	case o.program != "":
		query, err := gojq.Parse(o.program)
		if err != nil {
			return nil, exit.Misuse(fmt.Errorf("--jq: %w", err))
		}
		code, err := gojq.Compile(query)
		if err != nil {
			return nil, exit.Misuse(fmt.Errorf("--jq: %w", err))
		}
		return func(ctx context.Context, body []byte) ([]byte, error) { return runJQ(ctx, code, body) }, nil
	case len(o.ids) != 1:
		return nil, exit.Misuse(errors.New("several letters are changed by --patch or --jq; the editor takes one"))
	case editorProgram() == "":
		return nil, exit.Misuse(errors.New("EDITOR is not set: set it, or use --patch or --jq"))
	default:
		return nil, nil
	}
}

// runJQ wants exactly one result.
func runJQ(ctx context.Context, code *gojq.Code, body []byte) ([]byte, error) {
	var in any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // numbers that are not touched keep their digits
	if err := decoder.Decode(&in); err != nil {
		return nil, fmt.Errorf("the body is no JSON: %w", err)
	}
	if !json.Valid(body) { // the program would see the first value only, and the rest would be gone
		return nil, errors.New("the body is no JSON: something follows its first value")
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

func editorProgram() string {
	if program := os.Getenv("VISUAL"); program != "" {
		return program
	}
	return os.Getenv("EDITOR")
}

// inEditor opens a text in the editor and returns what became of it.
func inEditor(text []byte) (edited []byte, err error) {
	file, err := os.CreateTemp("", "letter-*.json")
	if err != nil {
		return nil, fmt.Errorf("a file for the editor: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // it may hold an address
	if _, err := file.Write(text); err != nil {
		return nil, errors.Join(fmt.Errorf("a file for the editor: %w", err), file.Close())
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("a file for the editor: %w", err)
	}
	words := strings.Fields(editorProgram())
	run := exec.Command(words[0], append(words[1:], file.Name())...) // not ended by a Ctrl-C, which is the editor's
	run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := run.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w; it was left as it is", editorProgram(), err)
	}
	if edited, err = os.ReadFile(file.Name()); err != nil {
		return nil, fmt.Errorf("what the editor wrote: %w", err)
	}
	return edited, nil
}

// compacted is JSON as the services write it.
func compacted(text []byte) ([]byte, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
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

// normal is a body to compare: indented, its names in order, its numbers as they are. What is no JSON stays as it is.
func normal(body []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var v any
	var out strings.Builder
	if !json.Valid(body) || decoder.Decode(&v) != nil || printJSON(&out, v) != nil {
		return string(body)
	}
	return out.String()
}

// diff shows the lines that differ, with those of one side marked - and those of the other +. Lines that are the same
// are left out.
func diff(before, after string) string {
	a, b := strings.Split(strings.TrimSuffix(before, "\n"), "\n"), strings.Split(strings.TrimSuffix(after, "\n"), "\n")
	var out strings.Builder
	line := func(mark, text string) {
		fmt.Fprintf(&out, "  %s %s\n", mark, escapeJSON(strings.ToValidUTF8(text, "\uFFFD")))
	}
	if len(a)*len(b) > maxDiff {
		line("-", fmt.Sprintf("%d lines", len(a)))
		line("+", fmt.Sprintf("%d lines", len(b)))
		return out.String()
	}
	i, j := 0, 0
	for _, s := range append(lcs(a, b), [2]int{len(a), len(b)}) {
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

// maxDiff bounds what is compared: pairs of lines.
const maxDiff = 4_000_000

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
