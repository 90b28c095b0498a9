package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"millrace/embedded"
)

// restoreElsewhere dumps the database while no router runs, and restores it into a server of its own, in which
// transaction ids begin anew. The log stays.
func restoreElsewhere(ctx context.Context, i *injection) (heal, error) {
	if err := i.stopRouters(); err != nil {
		return nil, err
	}
	dump := filepath.Join(i.dir, "dump.sql")
	if err := program(ctx, "pg_dump", "--file", dump, i.database.dsn); err != nil {
		return nil, err
	}
	i.database.server.Close()
	data := filepath.Join(i.database.dir, "data")
	if err := os.Rename(data, data+".before"); err != nil {
		return nil, fmt.Errorf("put the old server's data aside: %w", err)
	}
	if err := i.database.start(ctx); err != nil {
		return nil, err
	}
	err := program(ctx, "psql", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--output", os.DevNull, "--file", dump, i.database.dsn)
	return once(func(context.Context) error { return i.startRouters() }), err
}

// program runs one of PostgreSQL's programs.
func program(ctx context.Context, name string, args ...string) error {
	path, err := embedded.FindPostgresProgram(name)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, lastLine(out))
	}
	return nil
}

// needsDump: a Postgres that was fetched has the server's program alone.
func needsDump(Kafka, Scenario) string {
	for _, name := range []string{"pg_dump", "psql"} {
		if _, err := embedded.FindPostgresProgram(name); err != nil {
			return err.Error()
		}
	}
	return ""
}

func lastLine(out []byte) string {
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	return lines[len(lines)-1]
}
