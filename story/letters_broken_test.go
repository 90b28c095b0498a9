//go:build unix

package story_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// breakages numbers the triggers of all stories.
var breakages atomic.Int64

// breakage is a service with a bug: the database refuses what its reactions make of some rows. The router
// itself has no hook for that.
type breakage struct {
	*shop
	name, table string
}

// refuses lets a table of orders take no new state that meets a condition on NEW; others, and the mark of a row that
// is parked, it takes. Each refusal is counted, whatever becomes of its transaction.
func (s *shop) refuses(table, condition string) *breakage {
	s.t.Helper()
	b := &breakage{s, fmt.Sprintf("broken_%d", breakages.Add(1)), table}
	for _, step := range []string{
		`CREATE SEQUENCE ` + b.name,
		`CREATE FUNCTION ` + b.name + `() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.state::text <> '{}' AND (` + condition + `) THEN
    PERFORM nextval('public.` + b.name + `');
    RAISE EXCEPTION 'the new rule does not like order %', NEW.order_id USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$`,
		`CREATE TRIGGER ` + b.name + ` BEFORE INSERT OR UPDATE OF state ON ` + table + ` FOR EACH ROW EXECUTE FUNCTION ` + b.name + `()`,
	} {
		if _, err := s.books.Exec(step); err != nil {
			s.t.Fatalf("break %s: %v", table, err)
		}
	}
	return b
}

// mend is the deploy with the fix.
func (b *breakage) mend() {
	b.t.Helper()
	if _, err := b.books.Exec(`DROP TRIGGER ` + b.name + ` ON ` + b.table); err != nil {
		b.t.Fatalf("mend %s: %v", b.table, err)
	}
}

// hits is how often it refused.
func (b *breakage) hits() (n int64) {
	b.t.Helper()
	if err := b.books.QueryRow(`SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM ` + b.name).Scan(&n); err != nil {
		b.t.Fatalf("count what %s refused: %v", b.table, err)
	}
	return n
}

// toolPatience bounds one command of an operator, who has a router to wait for.
const toolPatience = 2 * patience

// toolEnds is how long a command takes at most to end after Ctrl-C, many times over. One that does not, says where it is: SIGQUIT
// prints its goroutines.
const toolEnds = 15 * time.Second

// dlq runs router dlq as an operator would, with the node's settings. It returns what was printed and the exit
// code; -1 where it had to be ended.
func (n *node) dlq(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	ctx, cancel := context.WithTimeout(ctx, toolPatience)
	defer cancel()
	path, err := routerBinary()
	if err != nil {
		return "", err.Error(), -1
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"dlq"}, args...)...)
	cmd.Cancel = func() error {
		time.AfterFunc(toolEnds, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
		return cmd.Process.Signal(os.Interrupt)
	}
	cmd.WaitDelay = stopPatience
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "USER=operator"}
	for _, name := range []string{"DATABASE_URL", "KAFKA_BROKERS", "DATA_DIR"} {
		if value := n.env[name]; value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		code = exit.ExitCode()
	default:
		code = -1
	}
	return out.String(), errs.String(), code
}

// dlqDone is dlq where it has to succeed.
func (n *node) dlqDone(args ...string) string {
	n.tb.Helper()
	begin := time.Now()
	stdout, stderr, code := n.dlq(context.Background(), args...)
	if code != 0 {
		n.tb.Fatalf("router dlq %s ends with %d:\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	n.tb.Logf("$ router dlq %s   (%v)\n%s%s", strings.Join(args, " "), time.Since(begin).Round(time.Millisecond), stderr, stdout)
	return stdout
}

// dlqJSON is dlqDone with --output json, read into into.
func (n *node) dlqJSON(into any, args ...string) {
	n.tb.Helper()
	stdout, stderr, code := n.dlq(context.Background(), append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(stdout), into); code != 0 || err != nil {
		n.tb.Fatalf("router dlq %s --output json ends with %d (%v):\n%s%s", strings.Join(args, " "), code, err, stdout, stderr)
	}
}
