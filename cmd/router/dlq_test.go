//go:build unix

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/testserver"
)

// installation is databases with the tables of all services, and no router.
type installation struct {
	t   *testing.T
	db  *sql.DB // where shipping's rows are
	env []string
}

const (
	shippingGroup = "shipping-service"
	shippingTopic = "ecommerce.shipping.initiate"
)

// newInstallation makes one. Settings are beside those that every test needs, and above them.
func newInstallation(t *testing.T, settings ...string) *installation {
	t.Helper()
	dsn := testserver.PostgresDSN(t)
	in := &installation{t: t, env: append([]string{
		asRouter + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + t.TempDir(), "TZ=UTC", "NO_COLOR=1",
		"DATABASE_URL=" + dsn, "DATA_DIR=" + t.TempDir(), "EMBEDDED_KAFKA_PORT=0", "DLQ_USER=tester",
	}, settings...)}
	db, err := openPool(t.Context(), dsn, 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	in.db = db
	in.must("migrate", "up")
	return in
}

// answer is what a command said and ended with.
type answer struct {
	out, err string
	code     int
}

func (in *installation) command(ctx context.Context, args ...string) *exec.Cmd {
	in.t.Helper()
	program, err := os.Executable()
	if err != nil {
		in.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = in.env
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

// run runs the router with those arguments.
func (in *installation) run(args ...string) answer { in.t.Helper(); return in.feed("", args...) }

// feed does, with something on standard input.
func (in *installation) feed(stdin string, args ...string) answer {
	in.t.Helper()
	ctx, cancel := context.WithTimeout(in.t.Context(), patience)
	defer cancel()
	cmd := in.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		in.t.Fatalf("router %s: %v", strings.Join(args, " "), err)
	}
	return answer{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must is run of something that has to work.
func (in *installation) must(args ...string) string {
	in.t.Helper()
	a := in.run(args...)
	if a.code != 0 {
		in.t.Fatalf("router %s: exit %d\n%s%s", strings.Join(args, " "), a.code, a.out, a.err)
	}
	return a.out
}

// read runs a command with --output json.
func (in *installation) read(into any, args ...string) {
	in.t.Helper()
	out := in.must(append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		in.t.Fatalf("router %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (in *installation) exec(statement string, args ...any) {
	in.t.Helper()
	if _, err := in.db.ExecContext(in.t.Context(), statement, args...); err != nil {
		in.t.Fatalf("%s: %v", statement, err)
	}
}

func (in *installation) count(query string, args ...any) (n int) {
	in.t.Helper()
	if err := in.db.QueryRowContext(in.t.Context(), query, args...).Scan(&n); err != nil {
		in.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// lettered is a letter of shipping's about a message it could process by now.
func lettered(change ...func(*deadletter.Line)) deadletter.Line {
	order, message := uuid.Must(uuid.NewV7()).String(), uuid.NewString()
	at := time.Now().UTC().Truncate(time.Microsecond)
	line := deadletter.Line{
		Status: deadletter.New, Service: "shipping", Group: shippingGroup, Handler: "shipping/" + shippingTopic, OrderID: order, MessageID: message,
		CorrelationID: "c-1", Topic: shippingTopic, Partition: 1, Offset: 42, Key: &order, Headers: map[string]string{"ce_id": message, "ce_type": "ShippingInitiate"},
		Body:        deadletter.Body{JSON: fmt.Appendf(nil, `{"orderId":%q,"items":[{"sku":"MUG-RED","quantity":2,"unitPrice":1250}]}`, order)},
		PublishedAt: at, Attempts: 1, ErrorType: "*errors.errorString", Error: "the carrier's table is broken", FirstFailed: at, LastFailed: at, Version: "1.0.0",
	}
	for _, c := range change {
		c(&line)
	}
	line.ID = deadletter.NewID(line.Group, line.MessageID)
	return line
}

// letter imports letters and returns their ids.
func (in *installation) letter(lines ...deadletter.Line) (ids []string) {
	in.t.Helper()
	var text strings.Builder
	for _, l := range lines {
		if err := json.NewEncoder(&text).Encode(l); err != nil {
			in.t.Fatal(err)
		}
		ids = append(ids, l.ID)
	}
	if a := in.feed(text.String(), "dlq", "import", "--reason", "a test"); a.code != 0 || !strings.HasPrefix(a.out, fmt.Sprintf("%d letter", len(lines))) {
		in.t.Fatalf("import: exit %d\n%s%s", a.code, a.out, a.err)
	}
	return ids
}

// broken has shipping refuse whatever changes a row, but for what the condition lets pass; an empty row, as a mark needs it, is let pass.
func (in *installation) broken(but string) {
	in.t.Helper()
	in.exec("ALTER TABLE shipping.shipments ADD CONSTRAINT broken CHECK (version = 0 OR " + but + ")")
}

func (in *installation) mended() {
	in.t.Helper()
	in.exec("ALTER TABLE shipping.shipments DROP CONSTRAINT broken")
}

// background runs a command that is interrupted by the test.
type background struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  journal
	errs journal
}

func (in *installation) start(args ...string) *background {
	in.t.Helper()
	b := &background{t: in.t, cmd: in.command(in.t.Context(), args...)}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.errs
	if err := b.cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	return b
}

// until waits until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// interrupt is Ctrl-C; it returns how the command ended.
func (b *background) interrupt() answer {
	b.t.Helper()
	if err := b.cmd.Process.Signal(syscall.SIGINT); err != nil {
		b.t.Fatal(err)
	}
	_ = b.cmd.Wait() // the exit code tells
	return answer{b.out.String(), b.errs.String(), b.cmd.ProcessState.ExitCode()}
}

func expect(t *testing.T, what string, a answer, code int, parts ...string) {
	t.Helper()
	if a.code != code {
		t.Errorf("%s: exit %d, want %d\n%s%s", what, a.code, code, a.out, a.err)
	}
	for _, part := range parts {
		if !strings.Contains(a.out+a.err, part) {
			t.Errorf("%s: it does not say %q:\n%s%s", what, part, a.out, a.err)
		}
	}
}

// Whoever mistypes is told what is wrong, where, and what would be right; nothing else happens.
func TestDLQRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	id := in.letter(lettered())[0]
	for args, test := range map[string]struct {
		code int
		want string
	}{
		"list|servic:x":                                       {exit.Misused, "servic:x\n  ^"},
		"list|service:payment|error~":                         {exit.Misused, "service:payment error~\n                        ^"},
		"list|service:paymnt":                                 {exit.Misused, `no service is "paymnt"; did you mean payment? There are order,`},
		"groups|status:foo":                                   {exit.Misused, `no status is "foo"; there are new, retrying, redriving, resolved, dropped`},
		"watch|service|=|shipping":                            {exit.Misused, "without blanks"},
		"export|service:shipping,":                            {exit.Misused, "without commas"},
		"foreign|list|--topic|x|status:resolved":              {exit.Misused, `no status is "resolved"; there are new, redriven`},
		"redrive|--group|nope|--dry-run":                      {exit.Misused, `--group: "nope" is no group: it is 12`},
		"drop|--filter|status:droped|--reason|x|--yes":        {exit.Misused, "did you mean dropped?"},
		"list|body:3":                                         {exit.Misused, `"body" needs a place`},
		"list|--limit|0":                                      {exit.Misused, "--limit is between 1 and"},
		"list|--before|soon":                                  {exit.Misused, `--before "soon"`},
		"list|--before|5,5":                                   {exit.Misused, "other databases"},
		"list|--output|yaml":                                  {exit.Misused, `--output: it is one of table, json, not "yaml"`},
		"groups|--no-such":                                    {exit.Misused, "unknown flag"},
		"show":                                                {exit.Misused, "accepts 1 arg"},
		"show|xyz":                                            {exit.Misused, "no id of a letter"},
		"show|abcde":                                          {exit.Misused, "at least its first six digits"},
		"show|ffffffff":                                       {exit.Failed, "there is no such letter"},
		"redrive|--reason|x":                                  {exit.Misused, "one of these"},
		"redrive|" + id + "|--group|abc|--reason|x":           {exit.Misused, "one of these"},
		"redrive|" + id:                                       {exit.Misused, "--reason is needed"},
		"redrive|" + id + "|--reason|x":                       {exit.Misused, "--yes"},
		"redrive|ffffffff|--reason|x|--yes":                   {exit.Failed, "there is no such letter"},
		"redrive|--filter|a)|--reason|x|--yes":                {exit.Misused, "a)\n   ^"},
		"redrive|--resume|abc":                                {exit.Misused, "takes the id of a redrive"},
		"redrive|--resume|" + uuid.NewString():                {exit.Failed, "there is no redrive"},
		"redrive|--resume|" + uuid.NewString() + "|--dry-run": {exit.Misused, "no --dry-run"},
		"redrive|--rate|-1|" + id:                             {exit.Misused, "not negative"},
		"drop|" + id:                                          {exit.Misused, "--reason is needed"},
		"drop|--filter|service:shipping|--reason|x":           {exit.Misused, "--yes"},
		"restore|" + id + "|--reason|x":                       {exit.Failed, "only to one that is dropped"},
		"resume|shiping|--reason|x":                           {exit.Misused, `there is no service "shiping": did you mean shipping?`},
		"resume|shipping|--reason|x":                          {exit.Failed, "is not paused"},
		"edit|" + id + "|--patch|{|--reason|x|--yes":          {exit.Misused, "--patch is no JSON"},
		"edit|" + id + "|--jq|.[|--reason|x|--yes":            {exit.Misused, "--jq"},
		"edit|" + id + "|--patch|{}|--jq|.|--reason|x|--yes":  {exit.Misused, "not both"},
		"edit|" + id + "|--reason|x|--yes":                    {exit.Misused, "EDITOR is not set"},
		"edit|--group|a1b2c3d4e5f6|--reason|x|--yes":          {exit.Misused, "the editor takes one"},
		"import|/no/such/file|--reason|x":                     {exit.Misused, "/no/such/file"},
		"import":                                              {exit.Misused, "--reason is needed"},
	} {
		a := in.run(append([]string{"dlq"}, strings.Split(args, "|")...)...)
		expect(t, args, a, test.code, test.want)
		if a.out != "" {
			t.Errorf("%s: it is told on standard output: %s", args, a.out)
		}
	}
	if n := in.count("SELECT count(*) FROM deadletter.letters WHERE status = 'new'"); n != 1 {
		t.Errorf("%d letters wait, want the one untouched", n)
	}
}

// Where there is nothing to look at, it is said; nothing is made or started for it.
func TestDLQWithoutAnything(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	expect(t, "groups", in.run("dlq", "groups"), 0, "No dead letters wait.")
	expect(t, "list", in.run("dlq", "list", "service:payment"), 0, "No dead letter that waits meets this filter.")
	expect(t, "list dropped ones", in.run("dlq", "list", "status:dropped"), 0, "No dead letter meets this filter.")
	expect(t, "all", in.run("dlq", "groups", "--all"), 0, "There are no dead letters.")
	expect(t, "redrives", in.run("dlq", "redrives"), 0, "Nothing has been redriven yet.")
	expect(t, "redrive", in.run("dlq", "redrive", "--filter", "service:payment", "--reason", "x", "--yes"), 0, "No dead letter")
	dir := t.TempDir() + "/data"
	nowhere := *in
	nowhere.env = append(append([]string(nil), in.env...), "DATABASE_URL=", "DATA_DIR="+dir)
	expect(t, "nowhere", nowhere.run("dlq", "list"), exit.Misused, "no router has run here", "DATABASE_URL")
	if _, err := os.Stat(dir); err == nil {
		t.Error("a directory was made")
	}
	empty := *in
	empty.env = append(append([]string(nil), in.env...), "DATABASE_URL="+testserver.PostgresDSN(t))
	expect(t, "no tables", empty.run("dlq", "list"), exit.Failed, "has no tables for dead letters", "router migrate up")
}
