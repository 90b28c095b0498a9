//go:build unix

package embedded

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// FindPostgresProgram finds one of PostgreSQL's other programs (pgbench, psql), in the places where
// StartPostgres looks for the server's. What is fetched for want of an installed PostgreSQL has
// the server's alone.
func FindPostgresProgram(name string) (string, error) {
	dirs := installedPostgres()
	if dir := os.Getenv("PG_BIN"); dir != "" {
		dirs = []string{dir}
	}
	for _, dir := range dirs {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil { // a client's package, without a server
		return path, nil
	}
	return "", fmt.Errorf("PostgreSQL's program %s is not on this machine (looked in %q and PATH): install PostgreSQL's own package, or set PG_BIN to its directory", name, dirs)
}
