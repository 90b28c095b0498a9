package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/itchyny/gojq"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"millrace/deadletter"
)

// documents are what users read, from here.
var documents = []string{"../../README.md", "../../docs/*.md"}

// code finds fenced blocks.
var code = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```")

// A command line in a document, or in the help of a command, can be typed as it stands: command, flags, number of
// arguments, filters, patches and programs.
func TestCommandLinesOfTheDocumentsAreRight(t *testing.T) {
	var checked int
	for _, pattern := range documents {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v, %v", pattern, paths, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range code.FindAllStringSubmatch(string(text), -1) {
				for _, line := range commandLines(block[2]) {
					checked++
					if err := checkCommandLine(line); err != nil {
						t.Errorf("%s: %s: %v", filepath.Base(path), line, err)
					}
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no command line was found: the test is blind")
	}
	eachCommand(rootCommand(), func(cmd *cobra.Command) {
		for _, line := range commandLines(cmd.Example) {
			if err := checkCommandLine(line); err != nil {
				t.Errorf("%s --help: %s: %v", cmd.CommandPath(), line, err)
			}
		}
	})
}

func TestWrongCommandLinesAreFound(t *testing.T) {
	for _, wrong := range []string{
		"router dlq grups", "router dlq list --limt 5", "router dlq show", "router dlq list servic:payment", "router dlq redrive --filter 'a and'",
		"router dlq edit 3f1c9a --patch '{' --reason x", "router dlq edit 3f1c9a --jq '.a |' --reason x", "router dlq list 'unclosed", "router serve now",
	} {
		if checkCommandLine(wrong) == nil {
			t.Errorf("%s is taken for right", wrong)
		}
	}
	want := []string{"router dlq groups", "DATA_DIR=x router dlq list status:new | head", "bin/router version # shown"}
	got := commandLines("$ router dlq groups\nGROUP\n  DATA_DIR=x router dlq list \\\n  status:new | head\nbin/router version # shown\nrouter: it failed\n")
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The page is complete: every command of dlq, and every flag of it.
func TestThePageOnDeadLettersHasEveryCommandAndFlag(t *testing.T) {
	text, err := os.ReadFile("../../docs/dead-letters.md")
	if err != nil {
		t.Fatal(err)
	}
	dlq, _, err := rootCommand().Find([]string{"dlq"})
	if err != nil {
		t.Fatal(err)
	}
	eachCommand(dlq, func(cmd *cobra.Command) {
		if cmd.Hidden || cmd == dlq {
			return
		}
		heading := regexp.MustCompile(`(?m)^### ` + regexp.QuoteMeta(strings.TrimPrefix(cmd.CommandPath(), "router dlq ")) + `\b.*$`)
		at := heading.FindStringIndex(string(text))
		if at == nil {
			t.Errorf("no heading is about %s", cmd.CommandPath())
			return
		}
		section, _, _ := strings.Cut(string(text[at[1]:]), "\n##")
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && f.Name != "output" && !strings.Contains(section, "`--"+f.Name) {
				t.Errorf("%s: nothing is said of --%s", cmd.CommandPath(), f.Name)
			}
		})
	})
}

func eachCommand(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, sub := range cmd.Commands() {
		eachCommand(sub, do)
	}
}

// invocation is how a line begins that runs the router.
var invocation = regexp.MustCompile(`^((\w+=\S*|sudo) )*(\./)?(bin/)?router [a-z]`)

// commandLines are the lines of a block that run the router; one that ends in a backslash goes on.
func commandLines(block string) (lines []string) {
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", "")) {
		line = strings.Join(strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "$ ")), " ")
		if invocation.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func checkCommandLine(line string) error {
	words, err := shellWords(line)
	if err != nil {
		return err
	}
	for i, word := range words {
		if strings.HasSuffix(word, "router") && !strings.Contains(word, "=") {
			words = words[i+1:]
			break
		}
	}
	root := rootCommand()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(words...)
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	args := cmd.Flags().Args()
	if err := cmd.ValidateArgs(args); err != nil {
		return err
	}
	if strings.Contains(cmd.Use, "filter") {
		if _, err := parseFilter(args); err != nil {
			return err
		}
	}
	var wrong error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "filter":
			_, err = parseFilter([]string{f.Value.String()})
		case "patch":
			_, err = deadletter.MergePatch([]byte("{}"), []byte(f.Value.String()))
		case "jq":
			_, err = gojq.Parse(f.Value.String())
		default:
			return
		}
		wrong = errors.Join(wrong, err)
	})
	return wrong
}

// shellWords splits a line as a shell does, up to a comment or whatever is no argument any more.
func shellWords(line string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	begun, escaped := false, false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			begun, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			begun, quote = true, r
		case r == ' ':
			end()
		case strings.ContainsRune("|>;&", r) || r == '#' && !begun:
			end()
			return words, nil
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("a %q is not closed", quote)
	}
	end()
	return words, nil
}
