//go:build unix

package embedded

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// postgresOldest is the oldest major version lib/pq speaks to.
const postgresOldest = 14

// binaries is a directory with PostgreSQL's server programs.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// installedPatterns are where packages put PostgreSQL without putting it on PATH.
var installedPatterns = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                   // Red Hat, from PostgreSQL's own packages
	"/usr/libexec/postgresql*",                           // Alpine
	"/opt/homebrew/opt/postgresql*/bin",                  // Homebrew on Apple's processors
	"/usr/local/opt/postgresql*/bin",                     // Homebrew on Intel's
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     // Homebrew on Linux
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
	"/usr/local/pgsql/bin",                               // built from source
}

// findPostgres finds binaries of the major version wanted, or, if that is 0, the
// first usable ones: those of PG_BIN and no others if it is set, else those on
// PATH, those installed elsewhere, the newest first, and those fetched. found
// tells the versions seen, for an error.
func findPostgres(ctx context.Context, major int) (b binaries, found []string, err error) {
	var dirs []string
	if dir := os.Getenv("PG_BIN"); dir != "" {
		if _, err := postgresVersion(ctx, dir); err != nil {
			return binaries{}, nil, fmt.Errorf("PG_BIN=%s is not a directory with PostgreSQL's initdb and postgres: %w", dir, err)
		}
		dirs = []string{dir}
	} else {
		dirs = installedPostgres()
	}
	for _, dir := range dirs {
		version, err := postgresVersion(ctx, dir)
		if ctx.Err() != nil {
			return binaries{}, nil, fmt.Errorf("look for PostgreSQL: %w", ctx.Err())
		}
		if err != nil {
			continue // half an installation is none
		}
		if version >= postgresOldest && (major == 0 || version == major) {
			return binaries{dir: dir, major: version}, nil, nil
		}
		found = append(found, fmt.Sprintf("%d in %s", version, dir))
	}
	return binaries{}, found, nil
}

// installedPostgres lists directories that may hold the binaries.
func installedPostgres() []string {
	var dirs []string
	for _, program := range []string{"postgres", "initdb"} {
		// A program on PATH is often a link into the directory with all of them.
		if path, err := exec.LookPath(program); err == nil {
			if real, err := filepath.EvalSymlinks(path); err == nil {
				dirs = append(dirs, filepath.Dir(real))
			}
		}
	}
	for _, pattern := range installedPatterns {
		matches, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		slices.SortFunc(matches, func(a, b string) int { return majorVersion(versionInPath, b) - majorVersion(versionInPath, a) })
		dirs = append(dirs, matches...)
	}
	if cache, err := fetchCache(); err == nil {
		dirs = append(dirs, filepath.Join(cache, "bin"))
	}
	return dirs
}

var (
	// versionInPath is the last number in a path, of 9.6 the 9.
	versionInPath = regexp.MustCompile(`(\d+)[\d.]*\D*$`)
	// versionInOutput is the one in: postgres (PostgreSQL) 17.5 (Debian 17.5-1)
	versionInOutput = regexp.MustCompile(`^\D*(\d+)`)
)

// majorVersion is the number that where finds in text, 0 without one.
func majorVersion(where *regexp.Regexp, text string) int {
	found := where.FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1]) // too long a number is no version
	return n
}

// postgresVersion asks the binaries in dir for their major version.
func postgresVersion(ctx context.Context, dir string) (int, error) {
	if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err != nil {
		return 0, err
	}
	output, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", filepath.Join(dir, "postgres"), err)
	}
	version := majorVersion(versionInOutput, string(output))
	if version == 0 {
		return 0, fmt.Errorf("%s does not tell its version: %q", filepath.Join(dir, "postgres"), strings.TrimSpace(string(output)))
	}
	return version, nil
}

// findOrFetchPostgres finds the binaries for cluster, and fetches them where
// the machine has none.
func findOrFetchPostgres(ctx context.Context, major int, cluster string) (binaries, error) {
	b, found, err := findPostgres(ctx, major)
	if err != nil || b.dir != "" {
		return b, err
	}
	if os.Getenv("PG_BIN") == "" && (major == 0 || major == fetchedMajor) {
		return fetchPostgres(ctx)
	}
	wanted := fmt.Sprintf("version %d, which made %s", major, cluster)
	if major == 0 {
		wanted = fmt.Sprintf("version %d or newer", postgresOldest)
	}
	here := "none"
	if len(found) > 0 {
		here = strings.Join(found, ", ")
	}
	return binaries{}, fmt.Errorf("PostgreSQL of %s is needed, and this machine has %s: install it, or set PG_BIN to its directory, or set DATA_DIR to a new directory, or DATABASE_URL to a running server", wanted, here)
}
