package chaos_test

import (
	"os"
	"path/filepath"
	"testing"

	"millrace/chaos"
)

// docs/chaos.md is what the kept results and the table of scenarios say.
func TestThePageIsFresh(t *testing.T) {
	results, err := chaos.ReadResults(filepath.Join("results", "report.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := os.ReadFile("found.md")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join("..", "docs", "chaos.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != chaos.Page(results, string(found)) {
		t.Error("docs/chaos.md is stale: make chaos ARGS=--report")
	}
}
