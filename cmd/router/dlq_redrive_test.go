//go:build unix

package main

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/cmd/exit"
	"millrace/deadletter"
)

// outcome is what redrive --output json says.
type outcome struct {
	Redrive string
	Tally   deadletter.Tally
	Groups  []deadletter.Share
}

// A letter from its failure to its end: looked at from all sides, redriven without any router, its story told.
func TestDLQRedrivesALetter(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	id := in.letter(lettered())[0]

	expect(t, "groups", in.run("dlq", "groups"), 0, "LETTERS", "shipping", "the carrier's table is broken", "Next: router dlq show "+id[:8])
	expect(t, "list", in.run("dlq", "list"), 0, id[:8], "new", "the carrier's table is broken")
	expect(t, "show", in.run("dlq", "show", id[:6]), 0, "verdict      applied", "MUG-RED", "ce_type: ShippingInitiate", "nobody has placed this order", "imported", "a test")
	var s struct {
		ID      string
		Status  string
		Payload struct{ OrderID string }
		Verdict struct{ Result string }
		Lane    []struct{ ID string }
		Steps   []struct{ Action, Who, Reason string }
	}
	in.read(&s, "dlq", "show", id)
	if s.ID != id || s.Status != "new" || s.Payload.OrderID == "" || s.Verdict.Result != "applied" || len(s.Lane) != 1 || len(s.Steps) != 1 || s.Steps[0].Who != "tester" {
		t.Errorf("show says %+v", s)
	}

	expect(t, "dry run", in.run("dlq", "redrive", id, "--dry-run"), 0, "1 would be applied", "Nothing was changed")
	if n := in.count("SELECT count(*) FROM shipping.shipments WHERE version > 0"); n != 0 {
		t.Error("a dry run changed a row")
	}
	a := in.run("dlq", "redrive", id, "--here", "--yes", "--reason", "mended")
	expect(t, "redrive", a, 0, "1 letter (", "The first: "+id[:8], "1 processed")
	if n := in.count("SELECT count(*) FROM shipping.shipments WHERE version > 0 AND parked_at IS NULL"); n != 1 {
		t.Error("the parcel was not begun, or its order is parked still")
	}
	if n := in.count("SELECT count(*) FROM deadletter.lanes"); n != 0 {
		t.Error("the lane is still there")
	}
	expect(t, "show", in.run("dlq", "show", id), 0, "resolved", "redriven", "mended")
	expect(t, "again", in.run("dlq", "redrive", id, "--here", "--yes", "--reason", "again"), exit.Failed, "is resolved")
	expect(t, "groups", in.run("dlq", "groups"), 0, "No dead letters wait")
	expect(t, "all groups", in.run("dlq", "groups", "--all"), 0, "the carrier's table is broken")
	expect(t, "resolved ones", in.run("dlq", "list", "status:resolved"), 0, id[:8])
}

// What a dry run tells of many is told once for each kind: two rules that refuse are two kinds, as in groups.
func TestDLQDryRunTellsRulesApart(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	selling := func(sku string) deadletter.Line {
		return lettered(func(l *deadletter.Line) {
			l.JSON = bytes.Replace(l.JSON, []byte("MUG-RED"), []byte(sku), 1)
		})
	}
	in.letter(selling("MUG-RED"), selling("MUG-BLUE"), selling("MUG-BLUE"))
	for rule, sku := range map[string]string{"no_red": "MUG-RED", "no_blue": "MUG-BLUE"} {
		in.exec("ALTER TABLE shipping.shipments ADD CONSTRAINT " + rule + " CHECK (state::text NOT LIKE '%" + sku + "%')")
	}
	expect(t, "dry run", in.run("dlq", "redrive", "--filter", "service:shipping", "--dry-run"), 0, `constraint "no_red"`, `constraint "no_blue"`, "3 would fail again")
}

// While the handler is broken, one letter finds it out; the others are not tried. When it is mended, the same
// redrive goes on with them.
func TestDLQStopsAtTheCanary(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	lines := make([]deadletter.Line, 40)
	for i := range lines {
		lines[i] = lettered()
	}
	in.letter(lines...)
	in.broken("false")

	expect(t, "dry run", in.run("dlq", "redrive", "--filter", "service:shipping", "--dry-run"), 0, "40 would fail again")
	a := in.run("dlq", "redrive", "--filter", "service:shipping", "--here", "--yes", "--reason", "hope")
	expect(t, "redrive", a, exit.Failed, "Redrive ", "40 letters (service:shipping)", "0 processed, 1 failed again", "39 left", "40 of 40", "--resume ")
	id := regexp.MustCompile(`--resume ([0-9a-f-]{36})`).FindStringSubmatch(a.err)
	if id == nil {
		t.Fatal("it does not say how to go on")
	}
	expect(t, "redrives", in.run("dlq", "redrives"), 0, id[1], "service:shipping: hope")

	in.mended()
	expect(t, "resume", in.run("dlq", "redrive", "--resume", id[1], "--here"), exit.Failed, "begun by tester", "39 processed, 1 failed again", "1 of 40")
	var rest outcome
	in.read(&rest, "dlq", "redrive", "--filter", "status:new", "--here", "--yes", "--reason", "the canary too")
	if rest.Tally.Letters != 1 || rest.Tally.Resolved != 1 || rest.Redrive == "" || len(rest.Groups) != 1 {
		t.Errorf("the last one: %+v", rest)
	}
	// What another one has done since is neither left of the first nor failed in it.
	expect(t, "once more", in.run("dlq", "redrive", "--resume", id[1]), 0, "nothing is left to ask for", "39 processed, 0 failed again, 0 held, 1 settled otherwise, 0 left")
	if n := in.count("SELECT count(*) FROM shipping.shipments WHERE version = 1 AND cardinality(processed) = 1"); n != 40 {
		t.Errorf("%d parcels were begun once, want 40", n)
	}
}

// Ctrl-C in the middle: it stops asking, says how to go on, and going on does the rest. Nothing is done twice.
func TestDLQInterrupted(t *testing.T) {
	t.Parallel()
	const letters = 120
	in := newInstallation(t)
	lines := make([]deadletter.Line, letters)
	for i := range lines {
		lines[i] = lettered()
	}
	in.letter(lines...)
	b := in.start("dlq", "redrive", "--filter", "service:shipping", "--here", "--yes", "--rate", "20", "--reason", "slowly")
	until(t, "some are done", func() bool {
		return in.count("SELECT count(*) FROM deadletter.letters WHERE status = 'resolved'") > 3
	})
	a := b.interrupt()
	expect(t, "interrupted", a, exit.Interrupted, "were not asked for", "left.")
	id := regexp.MustCompile(`--resume ([0-9a-f-]{36})`).FindStringSubmatch(a.err)
	if id == nil {
		t.Fatalf("it does not say how to go on:\n%s", a.err)
	}
	if n := in.count("SELECT count(*) FROM deadletter.letters WHERE status = 'resolved'"); n == letters {
		t.Fatal("all were done before the interruption: the test shows nothing")
	}
	expect(t, "resume", in.run("dlq", "redrive", "--resume", id[1], "--here"), 0, fmt.Sprintf("%d processed, 0 failed again", letters))
	expect(t, "once more", in.run("dlq", "redrive", "--resume", id[1], "--here"), 0, fmt.Sprintf("%d processed", letters))
	if n := in.count("SELECT count(*) FROM shipping.shipments WHERE version = 1 AND cardinality(processed) = 1"); n != letters {
		t.Errorf("%d parcels were begun once, want %d", n, letters)
	}
}

// Where nobody runs the service, whoever waits is told so, and what to do.
func TestDLQNobodyAtWork(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	in.letter(lettered())
	b := in.start("dlq", "redrive", "--filter", "service:shipping", "--yes", "--reason", "hope")
	until(t, "it says so", func() bool { return strings.Contains(b.errs.String(), "Nobody is at work") })
	a := b.interrupt()
	expect(t, "interrupted", a, exit.Interrupted, "no router that runs shipping", "--here", "1 was and goes on by itself")
	id := regexp.MustCompile(`--resume ([0-9a-f-]{36})`).FindStringSubmatch(a.err)
	if id == nil {
		t.Fatal("it does not say how to go on")
	}
	expect(t, "here", in.run("dlq", "redrive", "--resume", id[1], "--here"), 0, "1 processed")
}

// What is parked behind a letter goes on with it, in order, before the command ends.
func TestDLQRedrivesWhatIsParkedBehind(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	first := lettered()
	cancelled := lettered(func(l *deadletter.Line) {
		l.Status, l.OrderID, l.Key, l.Topic = deadletter.Parked, first.OrderID, first.Key, "ecommerce.order.cancelled"
		l.Handler, l.Error, l.ErrorType, l.Headers = "shipping/"+l.Topic, "", "", map[string]string{"ce_id": l.MessageID, "ce_type": "OrderCancelled"}
		l.JSON = fmt.Appendf(nil, `{"orderId":%q,"reason":"CUSTOMER"}`, first.OrderID)
	})
	in.letter(first, cancelled)
	expect(t, "show", in.run("dlq", "show", first.ID), 0, "parked     "+cancelled.ID[:8])
	expect(t, "groups", in.run("dlq", "groups"), 0, "      1       1       1  shipping")
	expect(t, "redrive", in.run("dlq", "redrive", first.ID, "--here", "--yes", "--reason", "mended"), 0, "1 processed")
	if n := in.count("SELECT count(*) FROM shipping.shipments WHERE cardinality(processed) = 2 AND parked_at IS NULL"); n != 1 {
		t.Error("what was parked was not processed")
	}
	if n := in.count("SELECT count(*) FROM deadletter.letters WHERE status = 'parked'"); n != 0 {
		t.Error("something is parked still")
	}
}

// A page of letters says how the next one is got, until there are no more; with the letters in several databases as in one.
func TestDLQPages(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	split := newInstallation(t) // its database is payment's
	for _, e := range split.env {
		if url, ok := strings.CutPrefix(e, "DATABASE_URL="); ok {
			in.env = append(in.env, "PAYMENT_DATABASE_URL="+url)
		}
	}
	const each = 7
	begin := time.Now().UTC().Truncate(time.Microsecond).Add(-time.Hour)
	var lines []deadletter.Line
	var want []string
	for i := range 2 * each {
		lines = append(lines, lettered(func(l *deadletter.Line) {
			l.LastFailed = begin.Add(time.Duration(i) * time.Second)
			if i%2 == 1 {
				l.Service, l.Group, l.Topic, l.Headers = "payment", "payment-service", "ecommerce.order.payment.initiated", nil
			}
		}))
	}
	for i := len(lines) - 1; i >= 0; i-- {
		want = append(want, lines[i].ID[:8])
	}
	in.letter(lines...)
	command := []string{"dlq", "list", "error~carrier's", "--limit", "3"}
	var got []string
	for pages := 0; ; pages++ {
		out := in.must(command...)
		for _, line := range strings.Split(out, "\n")[1:] {
			if fields := strings.Fields(line); len(fields) > 2 && fields[1] == "new" {
				got = append(got, fields[0])
			}
		}
		more := regexp.MustCompile(`More: router (.*) --before (\S+)\n`).FindStringSubmatch(out)
		if more == nil {
			break
		}
		if more[1] != `dlq list 'error~carrier'\''s' --limit 3` || pages > each {
			t.Fatalf("page %d goes on with %s", pages, more[1])
		}
		command = []string{"dlq", "list", "error~carrier's", "--limit", "3", "--before", more[2]}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("pages\n got %v\nwant %v", got, want)
	}

	// A database that is away keeps nobody from the others.
	in.env = append(in.env, "PAYMENT_DATABASE_URL=postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	a := in.run("dlq", "groups")
	expect(t, "one away", a, exit.Failed, "left out:", "1 of 2 databases", "shipping")
}

// What had been processed already changes nothing, and that is said; what waits behind a letter that nobody chose is
// held, and that is said too.
func TestDLQSaysWhatARedriveDidNotDo(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	done, dropped, head := lettered(), lettered(), lettered()
	behind := lettered(func(l *deadletter.Line) { l.OrderID, l.Key, l.JSON = head.OrderID, head.Key, head.JSON })
	in.letter(done, dropped, head, behind)
	for _, l := range []deadletter.Line{done, dropped} { // as after a crash between the effect and its outcome
		in.exec("UPDATE shipping.shipments SET processed = ARRAY[$2::uuid] WHERE order_id = $1", l.OrderID, l.MessageID)
	}
	expect(t, "dry run", in.run("dlq", "redrive", done.ID, "--dry-run"), 0, "ignored: it was processed already")
	expect(t, "redrive", in.run("dlq", "redrive", done.ID, "--here", "--yes", "--reason", "sure"), 0, "1 processed (1 of them changed nothing)")
	expect(t, "show", in.run("dlq", "show", done.ID), 0, "resolved", "processed already")
	expect(t, "drop", in.run("dlq", "drop", dropped.ID, "--reason", "sure"), 0, "it is resolved now, and nothing was dropped")

	expect(t, "behind", in.run("dlq", "redrive", behind.ID, "--here", "--yes", "--reason", "impatient"), exit.Failed, "1 held", "1 waits behind a letter of the same order", "1 of 1 letter was not processed")
	expect(t, "both", in.run("dlq", "redrive", head.ID, "--here", "--yes", "--reason", "patient"), 0, "1 processed")
	if n := in.count("SELECT count(*) FROM shipping.shipments WHERE cardinality(processed) = 2 AND parked_at IS NULL"); n != 1 {
		t.Error("the one that was held did not go on")
	}
	expect(t, "redrives", in.run("dlq", "redrives", "--output", "json"), 0, `"held": 0`, `"unchanged": 1`)
}

// Should the database go away in the middle, that is told once, with how far it had come and how to go on.
func TestDLQTheDatabaseGoesAway(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	in.letter(lettered(), lettered())
	b := in.start("dlq", "redrive", "--filter", "service:shipping", "--yes", "--reason", "no router is there")
	until(t, "one is asked for", func() bool {
		return in.count("SELECT count(*) FROM deadletter.letters WHERE status = 'redriving'") == 1
	})
	in.cutOff()
	until(t, "it has ended", func() bool { return strings.Contains(b.errs.String(), "router: ") })
	_ = b.cmd.Wait() // the exit code tells
	a := answer{b.out.String(), b.errs.String(), b.cmd.ProcessState.ExitCode()}
	expect(t, "cut off", a, exit.Failed, "As far as was seen: 2 letters in ", "2 left.", " not asked for", "To go on: router dlq redrive --resume ")
	if told := strings.Count(a.err, "router: "); told != 1 || strings.Count(a.err, "pq: ") != 1 || strings.HasSuffix(a.err, "\n\n") {
		t.Errorf("the error is told %d times:\n%s", told, a.err)
	}
}

// cutOff ends all connections to the database, and lets no new ones in.
func (in *installation) cutOff() {
	in.t.Helper()
	var name string
	if err := in.db.QueryRowContext(in.t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		in.t.Fatal(err)
	}
	at := slices.IndexFunc(in.env, func(s string) bool { return strings.HasPrefix(s, "DATABASE_URL=") })
	dsn := strings.TrimPrefix(in.env[at], "DATABASE_URL=")
	server, err := openPool(in.t.Context(), strings.Replace(dsn, "/"+name, "/postgres", 1), 1, 0)
	if err != nil {
		in.t.Fatal(err)
	}
	defer server.Close()
	for _, statement := range []string{
		"ALTER DATABASE " + name + " ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'",
	} {
		if _, err := server.ExecContext(in.t.Context(), statement); err != nil {
			in.t.Fatalf("%s: %v", statement, err)
		}
	}
}
