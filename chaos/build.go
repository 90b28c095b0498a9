package chaos

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs are the paths of what is run.
type Programs struct {
	// Router is the router, and the checker.
	Router string
	// Built is what Build made Router from; nil: somebody built it before.
	Built *Program
	// Old is the router of every second replica; empty: Router.
	Old string
	// Chaos is this command: its hidden command broker is the embedded broker's process.
	Chaos string
}

// Program is what a program says of what it was built from.
type Program struct {
	// Commit is the whole hash; empty: it does not say.
	Commit string `json:"commit,omitempty"`
	// Changed: there was more in the tree than in the commit.
	Changed bool `json:"changed,omitempty"`
	// Race: it has the race detector.
	Race bool   `json:"race,omitempty"`
	Tags string `json:"tags,omitempty"`
}

// shortCommit is as many digits of a hash as people read.
const shortCommit = 7

// String is the commit, and a plus where there was more.
func (p *Program) String() string {
	if p == nil || p.Commit == "" {
		return "–"
	}
	text := p.Commit[:min(shortCommit, len(p.Commit))]
	if p.Changed {
		text += "+"
	}
	if p.Tags != "" {
		text += " -tags " + p.Tags
	}
	if p.Race {
		text += " -race"
	}
	return text
}

// builtFrom reads it from the program itself, so that one that was given says so too.
func builtFrom(path string) (*Program, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what %s was built from: %w", path, err)
	}
	p := &Program{}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			p.Commit = s.Value
		case "vcs.modified":
			p.Changed = s.Value == "true"
		case "-race":
			p.Race = s.Value == "true"
		case "-tags":
			p.Tags = s.Value
		}
	}
	return p, nil
}

// askGit says what a checkout is: builds may have been told not to (GOFLAGS=-buildvcs=false).
func (p *Program) askGit(ctx context.Context, dir string) {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return // no checkout, or no git: then nobody knows
	}
	changes, err := git("status", "--porcelain")
	p.Commit, p.Changed = commit, changes != "" || err != nil
}

// NoRaces tells why this machine cannot build the race detector in; nil: it can.
func NoRaces(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "CC").Output()
	words := strings.Fields(string(out))
	if err == nil && len(words) == 0 {
		err = errors.New("go env CC is empty")
	}
	if err == nil {
		_, err = exec.LookPath(words[0])
	}
	if err != nil {
		return fmt.Errorf("the race detector takes a C compiler: %w", err)
	}
	return nil
}

// Build makes the programs from the source around the working directory, into dir; with race, the router has the race
// detector. Chaos is made too unless it is given: the path of this program, if it is cmd/chaos.
func Build(ctx context.Context, dir, chaos string, race bool) (Programs, error) {
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	if err != nil || root == "." || root == filepath.Dir(os.DevNull) {
		return Programs{}, fmt.Errorf("build what is broken: it takes a checkout of the repository, with Go on PATH (go env GOMOD: %q, %w)", gomod, err)
	}
	build := func(flags ...string) error {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", dir + string(filepath.Separator)}, flags...)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build what is broken: %w\n%s", err, out)
		}
		return nil
	}
	p := Programs{Router: filepath.Join(dir, "router"), Built: &Program{}, Chaos: chaos}
	p.Built.askGit(ctx, root) // now: the tree may be another one before the last run
	if race {
		err = build("-race", "./cmd/router")
	} else {
		err = build("./cmd/router")
	}
	if err == nil && chaos == "" {
		p.Chaos = filepath.Join(dir, "chaos")
		err = build("./cmd/chaos")
	}
	return p, err
}
