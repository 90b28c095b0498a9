package bench

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden report")

// written is a file of rows with these results.
func written(t *testing.T, results Results) string {
	t.Helper()
	f, err := CreateRows(t.TempDir(), results.Run)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range results.Rows {
		if err := f.Append(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// soaked is a run with everything a report can show: an opponent, a failed round, series.
func soaked() Results {
	r := resultsOf([]float64{400, 420, 380}, []float64{10, 11, 9})
	r.Rows = append(r.Rows,
		Row{Scenario: "relay", Side: "ours", Round: 4, FsyncsPerSecond: 990, Failed: "3 rows | lost"},
		Row{Scenario: "soak", Side: "ours", Round: 1, FsyncsPerSecond: 995, Values: Values{"drift": 3, "rss_drift": 12, "outbox_rows": 7}, Series: map[string][]float64{"seconds": {0, 1, 2}, "outbox_rows": {5, 0, 7}}})
	return r
}

func TestReport(t *testing.T) {
	dir, again := t.TempDir(), resultsOf([]float64{390, 410, 400}, []float64{10, 10, 10})
	again.Run.Began = again.Run.Began.Add(time.Hour)
	rows := written(t, soaked())
	if err := WriteReport(dir, []Scenario{racers(nil, nil), lone()}, rows, written(t, again)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, reportName))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "report.golden")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("not as testdata has it (go test ./bench -update):\n%s", diff)
	}
	// What the page shows is there, and can be read by a browser.
	plots, err := filepath.Glob(filepath.Join(dir, plotsDir, "*.svg"))
	if err != nil || len(plots) != 4 {
		t.Fatalf("plots: %v, %v", plots, err)
	}
	for _, plot := range plots {
		if !strings.Contains(string(got), "("+plotsDir+"/"+filepath.Base(plot)+")") {
			t.Errorf("the page does not show %s", plot)
		}
		svg, err := os.ReadFile(plot)
		if err != nil {
			t.Fatal(err)
		}
		for decoder := xml.NewDecoder(strings.NewReader(string(svg))); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", plot, err)
			}
		}
	}
	// The report's rows give the same report: that is what compare goes by.
	kept, err := ReadRows(ReportRows(dir))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(soaked(), kept); diff != "" {
		t.Errorf("the report's rows are others: %s", diff)
	}
	// A later report without a second run leaves nothing of the last one.
	if err := WriteReport(dir, []Scenario{racers(nil, nil)}, rows, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, resultsDir, againName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the last report's second run stayed: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, plotsDir, "*.svg")); len(left) != 1 {
		t.Errorf("the last report's plots stayed: %v", left)
	}
}

func TestTheReportCanBeWrittenFromItsOwnRows(t *testing.T) {
	dir := t.TempDir()
	if err := WriteReport(dir, []Scenario{racers(nil, nil)}, written(t, soaked()), ""); err != nil {
		t.Fatal(err)
	}
	if err := WriteReport(dir, []Scenario{racers(nil, nil)}, ReportRows(dir), ""); err != nil {
		t.Fatal(err)
	}
	if kept, err := ReadRows(ReportRows(dir)); err != nil || len(kept.Rows) != len(soaked().Rows) {
		t.Errorf("%d rows are left, %v", len(kept.Rows), err)
	}
}

func TestHalfARowIsLeftOut(t *testing.T) {
	for text, want := range map[string]int{
		"{\"run\":{}}\n{\"scenario\":\"relay\"}\n{\"scena": 1,
		"{\"run\":{}}\n": 0,
	} {
		if got, err := decodeRows(strings.NewReader(text)); err != nil || len(got.Rows) != want {
			t.Errorf("%q: %d rows, %v", text, len(got.Rows), err)
		}
	}
	for _, text := range []string{"", "{\"scenario\":\"relay\"}\n", "{\"run\":{}}\nnothing\n"} {
		if _, err := decodeRows(strings.NewReader(text)); err == nil {
			t.Errorf("%q is no file of rows, but was read", text)
		}
	}
}
