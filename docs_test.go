package millrace_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	linkPattern = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	testPattern = regexp.MustCompile("`(Test[A-Z]\\w*)`")
	funcPattern = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	// metricPattern and namePattern find metrics in documents, and their names in code.
	metricPattern = regexp.MustCompile(`\b(?:millrace|kafka_subscriber)_[a-z_]+\b`)
	namePattern   = regexp.MustCompile(`"((?:millrace|kafka_subscriber)_[a-z_]+)"`)
)

// A document that names a test as its evidence, or a metric, or links to a file, must not outlive it.
func TestDocumentsPointAtWhatThereIs(t *testing.T) {
	tests, metrics, documents := map[string]bool{}, map[string]bool{}, map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if path != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "build" {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".md"):
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".md") {
			documents[path] = string(data)
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, found := range funcPattern.FindAllStringSubmatch(string(data), -1) {
				tests[found[1]] = true
			}
			return nil
		}
		for _, found := range namePattern.FindAllStringSubmatch(string(data), -1) {
			metrics[found[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range documents {
		for _, found := range testPattern.FindAllStringSubmatch(text, -1) {
			if !tests[found[1]] {
				t.Errorf("%s names %s, which is gone", path, found[1])
			}
		}
		for _, metric := range metricPattern.FindAllString(text, -1) {
			if !metrics[metric] {
				t.Errorf("%s names the metric %s, which is gone", path, metric)
			}
		}
		for _, found := range linkPattern.FindAllStringSubmatch(text, -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), found[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, found[1], err)
			}
		}
	}
}
