//go:build unix

package embedded

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// fetchTestVariable, set to 1, lets a test download 15 MB.
const fetchTestVariable = "MILLRACE_TEST_FETCH"

// hidePostgres makes this machine look as if it had no PostgreSQL, fetched ones included.
func hidePostgres(t *testing.T) {
	t.Helper()
	patterns := installedPatterns
	installedPatterns = nil
	t.Cleanup(func() { installedPatterns = patterns })
	t.Setenv("PATH", t.TempDir())
	t.Setenv("PG_BIN", "")
	cache, system := openDir(t), systemCache
	systemCache = map[string]string{runtime.GOOS: cache}
	t.Cleanup(func() { systemCache = system })
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
}

func TestWhereThereIsNoPostgresItIsFetchedOnce(t *testing.T) {
	if os.Getenv(fetchTestVariable) != "1" {
		t.Skipf("LEFT OUT: downloads PostgreSQL, set %s=1", fetchTestVariable)
	}
	hidePostgres(t)
	cache, err := fetchCache()
	if err != nil {
		t.Fatal(err)
	}
	var first os.FileInfo
	for range 2 {
		dir := filepath.Join(openDir(t), "postgres")
		p := startPostgres(t, PostgresConfig{Dir: dir})
		if got := ask(t, p.DSN(), "SHOW server_version_num"); got[:2] != "17" {
			t.Errorf("the version is %s, want 17", got)
		}
		fetched, err := os.Stat(filepath.Join(cache, "bin", "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = fetched
		} else if !os.SameFile(first, fetched) {
			t.Error("it was fetched again")
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(cache), "fetching")); err == nil {
			t.Error("the fetch left something behind")
		}
	}
}
