//go:build unix

package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asNobody is an ordinary user: this one, or, as root, an unprivileged one, with
// a copy of the test program and a directory of their own.
func asNobody(t *testing.T) (as account, program, dir string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = openDir(t)
	if os.Getuid() != 0 {
		return asSelf(), program, dir
	}
	name, uid, gid, err := lookupUnprivileged()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(openDir(t), "router")
	if err := copyProgram(copied, program); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return asUser(name, uid, gid), copied, dir
}

func TestAnOrdinaryUserHasBothServers(t *testing.T) {
	as, program, dir := asNobody(t)
	_, servers := startRouter(t, filepath.Join(dir, "data"), as, program)
	if got := ask(t, servers.Postgres, "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 answers %s", got)
	}
}

// Under /root, mode 0700, no other user can reach the data.
func TestRootsOwnDirectoryServesOrSaysWhyNot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root runs servers as another user")
	}
	closed := openDir(t)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "postgres")
	p, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir})
	if err != nil { // a container without user namespaces
		if !strings.Contains(err.Error(), "DATA_DIR") {
			t.Errorf("the error does not name a way out: %v", err)
		}
		return
	}
	execute(t, p.DSN(), kept...)
	p.Close()
	// Reachable now, its data still belong to root.
	if err := os.Chmod(closed, 0o711); err != nil {
		t.Fatal(err)
	}
	wantKept(t, startPostgres(t, PostgresConfig{Dir: dir}).DSN())
}

// What root lends Postgres must not end in the hands of whoever made it first.
func TestASocketDirectoryMadeBySomeoneElseIsRefused(t *testing.T) {
	dir := openDir(t)
	if err := os.Mkdir(filepath.Join(dir, "socket"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "socket"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir, Throwaway: true})
	if err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("an open socket directory is not refused: %v", err)
	}
}
