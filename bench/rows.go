package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Run is what all rows of a file have in common: its first line.
type Run struct {
	Began   time.Time `json:"began"`
	Scale   string    `json:"scale"`
	Rounds  int       `json:"rounds"`
	Only    []string  `json:"only,omitempty"`
	Machine Machine   `json:"machine"`
}

// Results is a run and its rows.
type Results struct {
	Run  Run
	Rows []Row
}

// RowFile takes rows as they come. Each is in the file when Append returns, so that a run which is
// killed keeps what it measured.
type RowFile struct {
	f *os.File
}

// CreateRows begins a file of rows in dir, named after the run: 20260131T120000-quick-embedded.jsonl.
func CreateRows(dir string, run Run) (*RowFile, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory for raw rows: %w", err)
	}
	name := fmt.Sprintf("%s-%s-%s.jsonl", run.Began.UTC().Format("20060102T150405"), run.Scale, run.Machine.Broker)
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("creating the file of raw rows: %w", err)
	}
	r := &RowFile{f: f}
	if err := r.write(struct {
		Run Run `json:"run"`
	}{run}); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// Name is the file's path.
func (r *RowFile) Name() string { return r.f.Name() }

// Append writes one row.
func (r *RowFile) Append(row Row) error { return r.write(row) }

// Close closes the file.
func (r *RowFile) Close() error { return r.f.Close() }

func (r *RowFile) write(line any) error {
	encoded, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encoding a row for %s: %w", r.f.Name(), err)
	}
	if _, err := r.f.Write(append(encoded, '\n')); err != nil {
		return fmt.Errorf("writing a row: %w", err)
	}
	return nil
}

// ReadRows reads a file of rows. The last line of a run that was killed may be half; it is left out.
func ReadRows(name string) (Results, error) {
	f, err := os.Open(name)
	if err != nil {
		return Results{}, fmt.Errorf("reading raw rows: %w", err)
	}
	defer f.Close()
	results, err := decodeRows(f)
	if err != nil {
		return Results{}, fmt.Errorf("reading raw rows of %s: %w", name, err)
	}
	return results, nil
}

func decodeRows(from io.Reader) (Results, error) {
	var results Results
	reader := bufio.NewReader(from)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		switch {
		case err == io.EOF: // no end of line: half a row, or nothing
			if number == 1 {
				return Results{}, fmt.Errorf("it is empty; the first line should describe the run")
			}
			return results, nil
		case err != nil:
			return Results{}, err
		case number == 1:
			var first struct {
				Run *Run `json:"run"`
			}
			if err := json.Unmarshal(line, &first); err != nil || first.Run == nil {
				return Results{}, fmt.Errorf("the first line should describe the run, but is %.80q", bytes.TrimSpace(line))
			}
			results.Run = *first.Run
		default:
			var row Row
			if err := json.Unmarshal(line, &row); err != nil {
				return Results{}, fmt.Errorf("line %d: %w", number, err)
			}
			results.Rows = append(results.Rows, row)
		}
	}
}
