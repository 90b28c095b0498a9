// Command testreport reads `go test -json` and prints what a person wants to
// see of it: a line for each package, everything a failed test said, the tests that
// were left out, by reason, and at the end how many passed and failed.
//
// It exits with 1 if anything failed. Lines that are not JSON are printed as they are.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	ok, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// line is one line of `go test -json`; see `go doc test2json`.
type line struct {
	Action, Package, Test, Output string
}

// id is a test within its package; test is empty for the package itself.
type id struct{ pkg, test string }

// report returns whether nothing failed. It fails itself when in cannot be read, or
// held no test at all, which is a mistake in the command that feeds it.
func report(in io.Reader, out io.Writer) (ok bool, err error) {
	begin := time.Now()
	said := map[id]*strings.Builder{} // of tests that are not over
	leftOut := map[string]int{}       // why, and how often
	var passed, failed, skipped, broken int
	lines := bufio.NewReader(in) // not a Scanner: a line may be as long as it likes
	for {
		text, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			return false, fmt.Errorf("read the tests' output: %w", err)
		}
		var l line
		if text != "" && json.Unmarshal([]byte(text), &l) != nil {
			fmt.Fprint(out, text)
		}
		test := id{l.Package, l.Test}
		switch {
		case l.Action == "output" && l.Test != "":
			if said[test] == nil {
				said[test] = &strings.Builder{}
			}
			said[test].WriteString(l.Output)
		case l.Action == "output" && l.Output != "PASS\n" && !strings.HasSuffix(l.Output, "[no test files]\n"), l.Action == "build-output":
			fmt.Fprint(out, l.Output)
		case l.Action == "pass" && l.Test != "":
			passed++
			delete(said, test)
		case l.Action == "skip" && l.Test != "":
			skipped++
			leftOut[reason(spoken(said[test]))]++
			delete(said, test)
		case l.Action == "fail" && l.Test != "":
			failed++
			fmt.Fprint(out, inShort(spoken(said[test])))
			delete(said, test)
		case l.Action == "fail", l.Action == "build-fail":
			broken++
			for test, text := range said { // the package died under them
				if test.pkg == l.Package {
					fmt.Fprint(out, text)
					delete(said, test)
				}
			}
		}
		if err == io.EOF {
			break
		}
	}
	for _, why := range slices.Sorted(maps.Keys(leftOut)) {
		fmt.Fprintf(out, "left out, %d: %s\n", leftOut[why], why)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d left out, in %s\n", passed, failed, skipped, time.Since(begin).Round(time.Second))
	if passed+failed+broken == 0 {
		return false, fmt.Errorf("there was no test")
	}
	return failed == 0 && broken == 0, nil
}

// place is where a test said something: file, line, and the space before.
var place = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

// reason is what a skipped test said, without where, and without its name, so
// that those with one reason are counted together.
func reason(said string) string {
	var words []string
	for text := range strings.Lines(said) {
		if !strings.Contains(text, "--- SKIP") {
			words = append(words, strings.TrimSpace(place.ReplaceAllString(text, "")))
		}
	}
	return strings.Join(words, " ")
}

const (
	// longOutput is how many lines of a failed test one sees at once.
	longOutput = 40
	// shortLines, shortLine are how many remarks of it are repeated, and how many bytes of each.
	shortLines, shortLine = 10, 1500
)

// inShort repeats the remarks of a failed test that said a lot, above its last line: the log of a program that it started stands
// below what went wrong, and the end is what people look at.
func inShort(said string) string {
	lines := slices.Collect(strings.Lines(said))
	if len(lines) <= longOutput {
		return said
	}
	last := len(lines) - 1
	var remarks []string
	for _, text := range lines[:last] {
		if place.MatchString(text) {
			remarks = append(remarks, "    in short: "+strings.TrimSpace(text[:min(len(text), shortLine)])+"\n")
		}
	}
	remarks = remarks[:min(len(remarks), shortLines)]
	return strings.Join(slices.Concat(lines[:last], remarks, lines[last:]), "")
}

// spoken drops the lines that only say that a test began.
func spoken(said *strings.Builder) string {
	if said == nil {
		return ""
	}
	var b strings.Builder
	for text := range strings.Lines(said.String()) {
		if !strings.HasPrefix(text, "=== ") {
			b.WriteString(text)
		}
	}
	return b.String()
}
