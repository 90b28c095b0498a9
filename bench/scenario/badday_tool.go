package scenario

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"millrace/bench/rig"
)

// looks is how often an operator's look is timed; the slowest one counts.
const looks = 3

// dlq runs router dlq as an operator does, and tells how long that took.
func dlq(ctx context.Context, o *rig.Round, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, o.Router(), append([]string{"dlq"}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "DATABASE_URL=" + o.DSN}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("router dlq %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return time.Since(began), nil
}

// slowest is the longest of some looks.
func slowest(ctx context.Context, o *rig.Round, args ...string) (most time.Duration, err error) {
	for range looks {
		took, err := dlq(ctx, o, args...)
		if err != nil {
			return 0, err
		}
		most = max(most, took)
	}
	return most, nil
}
