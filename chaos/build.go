package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build makes the programs from the source around the working directory, into dir. Chaos is made too unless it is
// given: the path of this program, if it is cmd/chaos.
func Build(ctx context.Context, dir, chaos string) (Programs, error) {
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	if err != nil || root == "." || root == filepath.Dir(os.DevNull) {
		return Programs{}, fmt.Errorf("build what is broken: it takes a checkout of the repository, with Go on PATH (go env GOMOD: %q, %w)", gomod, err)
	}
	p := Programs{Router: filepath.Join(dir, "router"), Chaos: chaos}
	packages := []string{"./cmd/router"}
	if chaos == "" {
		p.Chaos = filepath.Join(dir, "chaos")
		packages = append(packages, "./cmd/chaos")
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", dir + string(filepath.Separator)}, packages...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build what is broken: %w\n%s", err, out)
	}
	return p, nil
}
