package rig

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the times in /proc/<pid>/stat: USER_HZ is 100 on all architectures Go runs on.
const clockTick = time.Second / 100

// stat is what /proc/<pid>/stat tells of a process.
type stat struct {
	pid, parent int
	started     string        // with the pid, unlike any other process
	cpu         time.Duration // of its own, user and system
	children    time.Duration // of the children that have ended and were waited for
}

// readStat reads /proc/<pid>/stat. Its second field, the name in brackets, may hold anything.
func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	// What follows the name begins with field 3 of proc(5).
	const parent, user, system, childrenUser, childrenSystem, started = 4, 14, 15, 16, 17, 22
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) <= started-3 {
		return stat{}, fmt.Errorf("read /proc/%d/stat: %q", pid, text)
	}
	s := stat{pid: pid, started: fields[started-3]}
	ticks := func(list ...int) (sum time.Duration) {
		for _, i := range list {
			n, e := strconv.ParseInt(fields[i-3], 10, 64)
			if e != nil {
				err = e
			}
			sum += time.Duration(n) * clockTick
		}
		return sum
	}
	s.cpu, s.children = ticks(user, system), ticks(childrenUser, childrenSystem)
	if s.parent, _ = strconv.Atoi(fields[parent-3]); err != nil {
		return s, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	return s, nil
}

// childrenOf lists the children of a process that has one thread, as the postmaster does. One that ends meanwhile is left out.
func childrenOf(pid int) (list []stat, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return nil, fmt.Errorf("what processes cost is read from /proc, on Linux alone: %w", err)
	}
	for word := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("read the children of process %d: %w", pid, err)
		}
		if s, err := readStat(child); err == nil && s.parent == pid {
			list = append(list, s)
		}
	}
	return list, nil
}

// postgresRole tells what a child of the postmaster does, from the title it gives itself, such as
// "postgres: autovacuum worker shop" or "postgres: postgres shop [local] idle".
func postgresRole(pid int) string {
	title, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return PostgresOther
	}
	return roleOf(strings.Trim(string(title), "\x00 "))
}

func roleOf(title string) string {
	_, role, _ := strings.Cut(title, "postgres: ")
	for prefix, name := range map[string]string{
		"autovacuum worker": PostgresAutovacuum, "walwriter": PostgresWALWriter, "checkpointer": PostgresCheckpointer,
		"background writer": PostgresOther, "autovacuum launcher": PostgresOther, "logical replication": PostgresOther,
		"io worker": PostgresBackends, // from 18 on they read for the backends
	} {
		if strings.HasPrefix(role, prefix) {
			return name
		}
	}
	if role == "" { // just forked, or just ending
		return PostgresOther
	}
	return PostgresBackends
}

// memoryField reads a field in kB, as "Rss:  1234 kB", from a file of /proc/<pid>.
func memoryField(pid int, file, field string) (mib float64, err error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/%s has no %s", pid, file, field)
}
