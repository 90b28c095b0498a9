//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// account is who a server runs as. Postgres refuses to run as root.
type account struct {
	name string
	// owner is the user id its files belong to, as this process sees it.
	owner, group int
	// attributes returns fresh process attributes that make a child run so.
	attributes func() *syscall.SysProcAttr
}

// unprivileged are the users root may lend to a server, the fittest first. It
// has to be a user the machine knows, initdb insists on a name.
var unprivileged = []string{"postgres", "_postgres", "nobody", "daemon"}

func asSelf() account {
	return account{
		name: "this user", owner: os.Getuid(), group: os.Getgid(),
		attributes: func() *syscall.SysProcAttr { return new(syscall.SysProcAttr) },
	}
}

func asUser(name string, uid, gid int) account {
	return account{
		name: "user " + name, owner: uid, group: gid,
		attributes: func() *syscall.SysProcAttr {
			return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		},
	}
}

// lookupUnprivileged finds the user root lends.
func lookupUnprivileged() (name string, uid, gid int, err error) {
	for _, name := range unprivileged {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if errUID == nil && errGID == nil {
			return name, uid, gid, nil
		}
	}
	return "", 0, 0, fmt.Errorf("Postgres does not run as root, and the machine has none of the users %s: run as another user, or set DATABASE_URL", strings.Join(unprivileged, ", "))
}

// chooseAccount decides who the server in dir runs as and gives it dir. Only
// root has a choice: whoever owns the data already, else an unprivileged user
// who can get at dir, else root's own files under another name in a user
// namespace.
func chooseAccount(b binaries, dir string) (account, error) {
	if os.Getuid() != 0 {
		return asSelf(), nil
	}
	name, uid, gid, err := lookupUnprivileged()
	if err != nil {
		return account{}, err
	}
	choices := []account{asUser(name, uid, gid)}
	if ns, ok := inNamespace(name, uid, gid); ok {
		choices = append(choices, ns)
	}
	if info, err := os.Stat(dir + "/data"); err == nil {
		owner := info.Sys().(*syscall.Stat_t)
		if int(owner.Uid) == 0 {
			choices = choices[1:]
		} else {
			choices = []account{asUser(strconv.Itoa(int(owner.Uid)), int(owner.Uid), int(owner.Gid))}
		}
	}
	var refused []error
	for _, a := range choices {
		if err := os.Chown(dir, a.owner, a.group); err != nil {
			return account{}, fmt.Errorf("give the Postgres directory %s to %s: %w", dir, a.name, err)
		}
		// Trying beats judging permission bits: this enters dir and runs the
		// binary just as the server will.
		probe := a.command(b.path("postgres"), "--version")
		probe.Dir = dir
		if err := probe.Run(); err != nil {
			refused = append(refused, fmt.Errorf("as %s: %w", a.name, err))
			continue
		}
		return a, nil
	}
	return account{}, fmt.Errorf("Postgres does not run as root, and nobody else gets at %s and %s: put DATA_DIR where another user may go (not under /root), or set DATABASE_URL: %w",
		dir, b.path("postgres"), errors.Join(refused...))
}
