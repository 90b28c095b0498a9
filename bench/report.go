package bench

import (
	"fmt"
	"os"
	"path/filepath"
)

// Where a report's parts are, below its directory.
const (
	reportName = "REPORT.md"
	plotsDir   = "plots"
	resultsDir = "results"
	rowsName   = "report.jsonl"       // the rows that the report is made from
	againName  = "report-again.jsonl" // those of a second run, which shows how well the first one repeats
)

// ReportRows is the file in dir with the rows that its report was made from.
func ReportRows(dir string) string { return filepath.Join(dir, resultsDir, rowsName) }

// WriteReport writes REPORT.md into dir, its plots and its raw rows beside it, from a file of rows.
// again is a second run's file, or empty. What an earlier report left is replaced.
func WriteReport(dir string, scenarios []Scenario, rows, again string) error {
	results, err := ReadRows(rows)
	if err != nil {
		return err
	}
	report := report{scenarios: scenarios, results: results, figures: Figures(scenarios, results.Rows), spreads: Spreads(scenarios, results.Rows)}
	if again != "" {
		second, err := ReadRows(again)
		if err != nil {
			return err
		}
		report.again = &second
	}
	plots := report.plots()
	if err := os.RemoveAll(filepath.Join(dir, plotsDir)); err != nil {
		return fmt.Errorf("removing the last report's plots: %w", err)
	}
	files := map[string]string{reportName: report.markdown(plots)}
	for _, p := range plots {
		files[p.File] = p.SVG
	}
	for name, from := range map[string]string{rowsName: rows, againName: again} {
		path := filepath.Join(resultsDir, name)
		if from == "" {
			if err := os.RemoveAll(filepath.Join(dir, path)); err != nil {
				return fmt.Errorf("removing the last report's rows: %w", err)
			}
			continue
		}
		raw, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("copying the raw rows: %w", err)
		}
		files[path] = string(raw)
	}
	for _, name := range sortedKeys(files) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return nil
}

// report is what the page is made from.
type report struct {
	scenarios []Scenario
	results   Results
	figures   []Figure
	spreads   map[string]FigureSpread
	again     *Results
}
