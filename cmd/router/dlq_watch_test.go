//go:build unix

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"millrace/deadletter"
)

// What happens is told once, in the order it happened, until Ctrl-C, which is a good end.
func TestDLQWatches(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	in.letter(lettered()) // came before
	b := in.start("dlq", "watch", "service:shipping", "--output", "json")
	people := in.start("dlq", "watch")
	said := func() (list []string) {
		for line := range strings.Lines(b.out.String()) {
			var h deadletter.Happening
			if err := json.Unmarshal([]byte(line), &h); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			list = append(list, h.What+" "+h.ID)
		}
		return list
	}
	await := func(what string) {
		t.Helper()
		until(t, what, func() bool { return slices.Contains(said(), what) })
	}
	// When it tells of the pause, it watches.
	in.exec("INSERT INTO deadletter.pauses (service, fingerprint, error, letters) VALUES ('shipping', 'abc', 'boom', 5)")
	await("paused ")
	until(t, "the other one watches", func() bool { return strings.Contains(people.out.String(), "paused") })
	expect(t, "groups", in.run("dlq", "groups"), 0, "PAUSED: shipping takes no messages", "router dlq resume shipping")
	expect(t, "resume", in.run("dlq", "resume", "shipping", "--reason", "mended"), 0, "shipping takes messages again")
	await("resumed ")
	until(t, "it says who, and why", func() bool { return strings.Contains(people.out.String(), "by tester: mended") })
	for line := range strings.Lines(people.out.String()) {
		if strings.Contains(line, "resumed") && strings.Contains(line, "boom") {
			t.Errorf("that it takes messages again looks like a failure: %s", line)
		}
	}
	in.exec("INSERT INTO deadletter.pauses (service, fingerprint, error, letters) VALUES ('order', '', 'too much waits', 5)")
	expect(t, "of no one kind", in.run("dlq", "groups"), 0, "because too much waits")
	in.must("dlq", "resume", "order", "--reason", "made room")
	expect(t, "the past", in.run("dlq", "groups", "--all"), 0, "shipping was paused at ", "group abc: boom", "resumed by tester: mended")
	in.exec("INSERT INTO deadletter.pauses (service, fingerprint, error, letters, resumed_at, resumed_by, reason) VALUES ('shipping', 'def', 'boom', 5, now(), 'ada', 'a blink')")
	until(t, "a pause that is over at once", func() bool { return strings.Contains(people.out.String(), "by ada: a blink") })
	id := in.letter(lettered())[0]
	await("imported " + id)
	in.must("dlq", "drop", id, "--reason", "not needed")
	await("dropped " + id)
	if got, want := strings.Join(said(), ", "), "paused , resumed , paused , resumed , paused , resumed , failed "+id+", imported "+id+", dropped "+id; got != want {
		t.Errorf("it told\n%s, want\n%s", got, want)
	}
	until(t, "the other one tells it too", func() bool { return strings.Contains(people.out.String(), "by tester: not needed") })
	expect(t, "Ctrl-C", b.interrupt(), 0)
	expect(t, "Ctrl-C", people.interrupt(), 0, "the carrier's table is broken")
}

// Whatever a letter holds, a terminal is shown text: no control characters, no turning of its direction.
func TestDLQShowsHostileLetters(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	const hostile = "\x1b]0;owned\x07 \x9b31m \u009b2J \u202egnp.exe \u2028 \r\n\tend"
	line := lettered(func(l *deadletter.Line) {
		l.OrderID = ""
		l.Error, l.ErrorType, l.CorrelationID, l.Version = hostile, hostile, hostile, hostile
		l.Headers = map[string]string{"x-" + hostile: hostile}
		l.Body = deadletter.NewBody([]byte("{\"a\x7f\":\"" + "\u202e \u009b2J" + "\"}"))
	})
	// As it comes from a broker: not all of it is UTF-8.
	for _, text := range []*string{&line.Error, &line.ErrorType, &line.CorrelationID, &line.Version} {
		*text = strings.ToValidUTF8(*text, "\uFFFD")
	}
	watch := in.start("dlq", "watch")
	until(t, "it watches", func() bool { return strings.Contains(watch.errs.String(), "Watching") })
	in.letter(line)
	until(t, "it tells", func() bool { return strings.Contains(watch.out.String(), "owned") })
	outputs := map[string]string{"watch": watch.interrupt().out}
	for _, args := range []string{"groups", "groups --output json", "list", "list --output json", "show " + line.ID, "show " + line.ID + " --output json", "export", "redrive --dry-run " + line.ID} {
		outputs[args] = in.must(append([]string{"dlq"}, strings.Fields(args)...)...)
	}
	for args, out := range outputs {
		if !strings.Contains(out, "owned") && !strings.HasPrefix(args, "redrive") {
			t.Errorf("%s does not show it: %s", args, out)
		}
		if at := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && harmful(r) }); at >= 0 {
			t.Errorf("%s: %q", args, out[max(0, at-20):min(len(out), at+20)])
		}
	}
	var exported deadletter.Line
	if err := json.Unmarshal([]byte(outputs["export"]), &exported); err != nil || exported.Error != line.Error {
		t.Errorf("exported is %+v, %v", exported, err)
	}
}

// The tab key offers what there is, and nothing when the database is away.
func TestDLQCompletes(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	line := lettered()
	id := in.letter(line)[0]
	complete := func(args ...string) string { return in.must(append([]string{"__complete", "dlq"}, args...)...) }
	group := deadletter.NewLine(&deadletter.Letter{Handler: line.Handler, ErrorType: line.ErrorType, Error: line.Error}).Fingerprint
	for want, args := range map[string][]string{
		id + "\tshipping: the carrier's table": {"show", ""},
		id:                                     {"drop", id[:7]},
		group + "\tshipping: the carrier's":    {"redrive", "--group", ""},
		"group:" + group:                       {"list", "group:"},
		"service:":                             {"list", "se"},
		"service:shipping":                     {"list", "service:sh"},
		"service:shipping status:new":          {"redrive", "--filter", "service:shipping status:n"},
		"since:1h service:notification":        {"redrive", "--filter", "since:1h service:"},
		"payment":                              {"resume", ""},
		"json":                                 {"list", "--output", ""},
		"notification":                         {"reindex", "--service", ""},
		"table":                                {"foreign", "list", "--output", ""},
	} {
		if out := complete(args...); !strings.Contains(out, want) {
			t.Errorf("%q offers\n%s, want %s", args, out, want)
		}
	}
	for _, args := range [][]string{{"redrive", "--reason", ""}, {"list", "--limit", ""}, {"foreign", "list", "--topic", ""}, {"reindex", "--service", ""}, {"reindex", ""}, {"foreign", "list", ""}} {
		if out := complete(args...); !strings.Contains(out, ":4\n") { // ShellCompDirectiveNoFileComp
			t.Errorf("for %q files are offered: %s", args, out)
		}
	}
	if out := complete("restore", ""); strings.Contains(out, id) {
		t.Errorf("a letter that was not dropped can be restored: %s", out)
	}
	in.env = append(in.env, "DATABASE_URL=postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	if out := complete("show", ""); out != ":4\n" && !strings.HasPrefix(out, ":") {
		t.Errorf("without a database it offers %q", out)
	}
}
