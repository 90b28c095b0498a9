//go:build unix

package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// install puts programs at dir that claim to be a PostgreSQL.
func install(t *testing.T, dir, version string) {
	t.Helper()
	for _, program := range []string{"postgres", "initdb"} {
		write(t, filepath.Join(dir, program), "#!/bin/sh\necho '"+program+" (PostgreSQL) "+version+"'\n")
		if err := os.Chmod(filepath.Join(dir, program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhichPostgresIsFound(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := func(name string) string { return filepath.Join(root, name, "bin") }
	for _, c := range []struct {
		name    string
		major   int
		onPATH  string // a link to its postgres is on PATH
		pgBin   string
		want    string
		noneBut string // what the error must list instead
	}{
		{name: "the newest", want: "18"},
		{name: "the one on PATH first", onPATH: "15", want: "15"},
		{name: "the one that made the data", major: 15, want: "15"},
		{name: "the one that made the data, another on PATH", major: 18, onPATH: "15", want: "18"},
		{name: "PG_BIN before all", onPATH: "15", pgBin: "16", want: "16"},
		{name: "PG_BIN and no other", major: 15, pgBin: "18", noneBut: "18 in "},
		{name: "none that lib/pq does not speak to", major: 9, noneBut: "9 in "},
	} {
		t.Run(c.name, func(t *testing.T) {
			hidePostgres(t)
			installedPatterns = []string{filepath.Join(root, "*", "bin")}
			for name, version := range map[string]string{"9.6": "9.6.24", "15": "15.18 (Debian 15.18-0+deb12u1)", "16": "16.9", "18": "18beta1"} {
				install(t, dir(name), version)
			}
			if c.onPATH != "" {
				if err := os.Symlink(filepath.Join(dir(c.onPATH), "postgres"), filepath.Join(os.Getenv("PATH"), "postgres")); err != nil {
					t.Fatal(err)
				}
			}
			if c.pgBin != "" {
				t.Setenv("PG_BIN", dir(c.pgBin))
			}
			b, err := findOrFetchPostgres(t.Context(), c.major, "the data")
			if c.noneBut != "" {
				if err == nil || !strings.Contains(err.Error(), c.noneBut) {
					t.Errorf("found %+v, %v; want an error that lists %q", b, err, c.noneBut)
				}
				return
			}
			if err != nil || b.dir != dir(c.want) {
				t.Errorf("found %+v (%v), want %s", b, err, dir(c.want))
			}
		})
	}
}

func TestDataOfAVersionThatCannotBeFetchedNamesTheWaysOut(t *testing.T) {
	hidePostgres(t)
	_, err := findOrFetchPostgres(t.Context(), 16, "/data")
	for _, want := range []string{"16", "/data", "none", "PG_BIN", "DATA_DIR", "DATABASE_URL"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %s: %v", want, err)
		}
	}
}
