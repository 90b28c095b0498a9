//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"millrace/cmd/exit"
	"millrace/deadletter"
)

// What is dropped counts as processed, and what is restored waits again; each with who and why.
func TestDLQDropsAndRestores(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	ids := in.letter(lettered(), lettered(), lettered())
	expect(t, "drop", in.run("dlq", "drop", ids[0], ids[1][:8], "--reason", "test orders"), 0, ids[0]+" dropped", ids[1]+" dropped")
	expect(t, "drop again", in.run("dlq", "drop", ids[0], ids[2], "--reason", "x"), exit.Failed, "is dropped", ids[2]+" dropped", "1 of 2")
	if n := in.count("SELECT count(*) FROM shipping.shipments WHERE cardinality(processed) = 1 AND parked_at IS NULL"); n != 3 {
		t.Errorf("%d orders go on, want 3", n)
	}
	expect(t, "restore", in.run("dlq", "restore", "--filter", "status:dropped", "--yes", "--reason", "a mistake"), 0, ids[0]+" restored", ids[2]+" restored")
	if n := in.count("SELECT count(*) FROM shipping.shipments WHERE cardinality(processed) = 0 AND parked_at IS NOT NULL"); n != 3 {
		t.Errorf("%d orders wait, want 3", n)
	}
	expect(t, "show", in.run("dlq", "show", ids[0]), 0, "dropped", "tester", "test orders", "restored", "a mistake")
}

// What waits of an order waits behind the letters that are open, not behind one that is settled.
func TestDLQNothingIsParkedBehindASettledLetter(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	first := lettered()
	behind := lettered(func(l *deadletter.Line) {
		l.Status, l.OrderID, l.Key, l.Attempts, l.Error, l.ErrorType = deadletter.Parked, first.OrderID, first.Key, 0, "", ""
	})
	in.letter(first, behind)
	parked := func() (listed, shown int) {
		var list struct{ Letters []struct{ ParkedBehind int } }
		in.read(&list, "dlq", "list", "--all")
		var letter struct{ ParkedBehind int }
		in.read(&letter, "dlq", "show", first.ID)
		if len(list.Letters) != 1 {
			t.Fatalf("%d letters are listed, want 1", len(list.Letters))
		}
		return list.Letters[0].ParkedBehind, letter.ParkedBehind
	}
	if listed, shown := parked(); listed != 1 || shown != 1 {
		t.Errorf("behind the letter that waits list has %d and show %d, want 1", listed, shown)
	}
	in.must("dlq", "drop", first.ID, "--reason", "a test")
	if listed, shown := parked(); listed != 0 || shown != 0 {
		t.Errorf("behind the dropped letter list has %d and show %d, want none", listed, shown)
	}
}

// Two letters whose ids begin alike are told apart by more digits.
func TestDLQAmbiguousID(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	const digits = 6
	seen := map[string]deadletter.Line{}
	for {
		line := lettered()
		other, known := seen[line.ID[:digits]]
		if !known {
			seen[line.ID[:digits]] = line
			continue
		}
		in.letter(line, other)
		expect(t, "ambiguous", in.run("dlq", "show", line.ID[:digits]), exit.Failed, "several begin like that", line.ID, other.ID)
		expect(t, "clear", in.run("dlq", "show", line.ID), 0, line.ID)
		return
	}
}

// A body that is mended is one the service can read; the original stays, and the diff shows what changed.
func TestDLQEdits(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	ids := in.letter(lettered(), lettered(), lettered(func(l *deadletter.Line) {
		l.OrderID = "" // whoever cannot read the message does not know whose it is
		l.JSON = []byte(`{"orderId":"0199c0de-0000-7000-8000-000000000001","items":"two mugs"}`)
		order := "0199c0de-0000-7000-8000-000000000001"
		l.Key = &order
	}))
	// The letters of an editor that is a program.
	editor := filepath.Join(t.TempDir(), "editor")
	script := "#!/bin/sh\nsed -i 's/\"two mugs\"/[]/' \"$1\"\n"
	if err := os.WriteFile(editor, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	in.env = append(in.env, "EDITOR="+editor)

	expect(t, "dry run", in.run("dlq", "edit", ids[0], "--patch", `{"items":[]}`, "--dry-run"), 0, `-   "items": [`, `+   "items": []`, "1 letter would change, 0 stay the same")
	expect(t, "another order's", in.run("dlq", "edit", ids[0], "--patch", `{"orderId":"0199c0de-0000-7000-8000-000000000001"}`, "--yes", "--reason", "x"), exit.Failed,
		"it is about order", "nothing was changed")
	expect(t, "unreadable", in.run("dlq", "edit", ids[0], "--jq", `.items = 5`, "--yes", "--reason", "x"), exit.Failed, "nothing was changed")
	expect(t, "two bodies", in.run("dlq", "edit", ids[0], "--jq", `., .`, "--yes", "--reason", "x"), exit.Failed, "more than one body")
	expect(t, "all or none", in.run("dlq", "edit", "--filter", "service:shipping", "--jq", `.items[0].quantity = 5`, "--yes", "--reason", "x"), exit.Failed, ids[2], "1 cannot be changed so", "nothing was changed")
	expect(t, "many", in.run("dlq", "edit", ids[0], ids[1], "--jq", `.items[0].quantity = 5`, "--yes", "--reason", "five it is"), 0, `+       "quantity": 5`, ids[0]+" edited", ids[1]+" edited")
	expect(t, "in the editor", in.run("dlq", "edit", ids[2], "--yes", "--reason", "he meant none"), 0, `-   "items": "two mugs"`, `+   "items": []`)
	expect(t, "show", in.run("dlq", "show", ids[2]), 0, "Body, as it was edited", "edited", "he meant none")
	var s struct {
		Payload  struct{ Items []any }
		Original struct{ Payload struct{ Items string } }
	}
	in.read(&s, "dlq", "show", ids[2])
	if len(s.Payload.Items) != 0 || s.Original.Payload.Items != "two mugs" {
		t.Errorf("the letter is %+v", s)
	}
	expect(t, "redrive", in.run("dlq", "redrive", "--filter", "service:shipping", "--here", "--yes", "--reason", "mended"), 0, "3 processed")
	if n := in.count(`SELECT count(*) FROM shipping.shipments WHERE state::text LIKE '%"quantity":5%'`); n != 2 {
		t.Errorf("%d parcels have five pieces, want 2", n)
	}
}

// unreadable is a letter that nothing but bytes describes.
func unreadable() deadletter.Line {
	return lettered(func(l *deadletter.Line) {
		l.OrderID, l.Key, l.KeyBase64 = "", nil, []byte{0xff, 0, 1}
		l.Body = deadletter.Body{Base64: []byte{0, 0xff, '\n', '{'}}
		l.Headers = map[string]string{"ce_id": l.MessageID, "trace_base64": "/wA=", "empty": ""}
	})
}

// What is exported and imported elsewhere is the same there, to the last byte; what is there already is left alone.
func TestDLQExportsAndImports(t *testing.T) {
	t.Parallel()
	from, to := newInstallation(t), newInstallation(t)
	spaced := "{ \"orderId\" :\t1}\n"
	first := lettered(func(l *deadletter.Line) {
		original := deadletter.NewBody([]byte("was \u202e no JSON"))
		l.Original = &original
	})
	behind := lettered(func(l *deadletter.Line) {
		l.Status, l.OrderID, l.Key, l.Attempts, l.Error, l.ErrorType = deadletter.Parked, first.OrderID, first.Key, 0, "", ""
	})
	lines := []deadletter.Line{first, behind, unreadable(), lettered(func(l *deadletter.Line) { l.OrderID, l.Body = "", deadletter.NewBody([]byte(spaced)) })}
	from.letter(lines...)

	text := from.must("dlq", "export", "--parked")
	if n := strings.Count(text, "\n"); n != len(lines) {
		t.Fatalf("%d lines are exported, want %d:\n%s", n, len(lines), text)
	}
	if n := strings.Count(from.must("dlq", "export"), "\n"); n != len(lines)-1 {
		t.Errorf("%d lines are exported without what is parked, want %d", n, len(lines)-1)
	}
	file := filepath.Join(t.TempDir(), "letters.jsonl")
	expect(t, "to a file", from.run("dlq", "export", "--parked", "--file", file), 0, "4 lines were written")
	expect(t, "to the same file", from.run("dlq", "export", "--file", file), exit.Misused, "is there already")
	if data, err := os.ReadFile(file); err != nil || string(data) != text {
		t.Errorf("the file is another than what is printed: %v", err)
	}
	expect(t, "import", to.run("dlq", "import", file, "--reason", "moved"), 0, "4 letters were imported, 0 were known")
	if got := to.must("dlq", "export", "--parked"); got != text {
		t.Errorf("exported again\n%s\nfirst\n%s", got, text)
	}
	expect(t, "import again", to.run("dlq", "import", file, "--reason", "moved"), 0, "0 letters were imported, 4 were known")
	to.must("dlq", "drop", first.ID, "--reason", "x")
	expect(t, "settled meanwhile", to.run("dlq", "import", file, "--reason", "moved"), 0, "0 letters were imported, 4 were known")
	if n := to.count("SELECT count(*) FROM deadletter.letters WHERE status = 'new'"); n != 2 {
		t.Errorf("%d letters wait, want 2", n)
	}
}

// A line that is wrong is told by its number, and keeps no other from being imported.
func TestDLQImportsAroundBadLines(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	good, also, settled, strange := lettered(), lettered(), lettered(), lettered()
	settled.Status = deadletter.Resolved
	strange.ID = uuid.NewString()
	var out strings.Builder
	for _, l := range []any{good, settled, strange, "no letter", also} {
		if err := writeLine(&out, l); err != nil {
			t.Fatal(err)
		}
	}
	foreign := lettered(func(l *deadletter.Line) { l.Topic = "nobody.hears.it" })
	stranger := lettered(func(l *deadletter.Line) { l.Service, l.Group = "billing", "billing-service" })
	for _, l := range []any{foreign, stranger} {
		if err := writeLine(&out, l); err != nil {
			t.Fatal(err)
		}
	}
	text := out.String() + "{\n\n" + strings.Repeat("x", maxLine+1) + "\n{}"
	a := in.feed(text, "dlq", "import", "-", "--reason", "as far as it goes")
	expect(t, "import", a, exit.Failed, "2 letters were imported, 0 were known, 1 settled one was left out; 7 lines could not be imported",
		"line 3: id ", "line 4: it is no letter", "line 6: shipping does not hear topic", `line 7: there is no service "billing"`, "line 8: it is no letter", "line 10: it is longer than",
		"line 11: status, service, consumerGroup, handler, messageId, topic are missing")
	if n := in.count("SELECT count(*) FROM deadletter.letters"); n != 2 {
		t.Errorf("%d letters, want 2", n)
	}
}
