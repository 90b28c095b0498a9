package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"millrace/chaos"
)

// list prints what there is to run and to break.
func list(out io.Writer, kafka chaos.Kafka) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SCENARIO\t\tWHAT\tFAULTS")
	for _, s := range slices.Concat(chaos.Scenarios(), []chaos.Scenario{chaos.Random(), chaos.Quick()}) {
		number := ""
		if s.Number > 0 {
			number = fmt.Sprint(s.Number)
		}
		what := strings.Join(s.Faults, ", ")
		if why, ok := s.Runs(kafka); !ok {
			what = "not run: " + why
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name, number, s.Title, what)
	}
	fmt.Fprintln(t, "\nFAULT\t\tWHAT\tHEALS")
	for _, f := range chaos.Faults() {
		fmt.Fprintf(t, "%s\t\t%s\t%s\n", f.Name, f.What, f.Heals)
	}
	return t.Flush()
}

// keptResults are those that docs/chaos.md is made of: what somebody chose to keep of their own.
const keptResults = "chaos/results/report.jsonl"

// report writes the page from them.
func report() error {
	all, err := chaos.ReadResults(filepath.FromSlash(keptResults))
	if err != nil {
		return err
	}
	found, err := os.ReadFile(filepath.Join("chaos", "found.md"))
	if err != nil {
		return fmt.Errorf("read what was found: %w", err)
	}
	return os.WriteFile(filepath.Join("docs", "chaos.md"), []byte(chaos.Page(all, string(found))), 0o644)
}
