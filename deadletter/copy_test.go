package deadletter

import (
	"bytes"
	"strings"
	"testing"

	"millrace/outbox"
)

// A copy that Kafka would not take is cut, and says so; the database has all of it.
func TestACopyThatIsTooLargeIsCut(t *testing.T) {
	huge := func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }
	for what, c := range map[string]struct {
		letter Letter
		cut    string
		key    int
	}{
		"nothing":     {Letter{Key: huge(36), Payload: huge(1 << 20)}, "", 36},
		"just whole":  {Letter{Key: huge(36), Payload: huge(maxCopy - 3<<10)}, "", 36},
		"the body":    {Letter{Key: huge(36), Payload: huge(5 << 20), Headers: map[string]string{"ce_id": "1"}}, "body", 36},
		"headers":     {Letter{Key: huge(36), Payload: huge(1 << 10), Headers: map[string]string{"binary": strings.Repeat("\xff", 4<<20)}}, "headers", 36},
		"all":         {Letter{Key: huge(3 << 20), Payload: huge(5 << 20), Headers: map[string]string{strings.Repeat("\xff", 2<<20): "1"}}, "headers, key, body", maxCopiedKey},
		"key, doubly": {Letter{Key: huge(2 << 20), Payload: huge(1 << 10)}, "headers, key", maxCopiedKey},
	} {
		l := c.letter
		l.ID, l.Topic, l.Group = NewID("g", "m"), "t", "g"
		key, payload, headers := l.copyOf()
		if size := sizeOf(key, payload, headers); size > maxCopy || headers[HeaderCut] != c.cut || len(key) != c.key {
			t.Errorf("%s: %d bytes, cut %q, a key of %d bytes; want at most %d, %q, %d", what, size, headers[HeaderCut], len(key), maxCopy, c.cut, c.key)
		}
		if !bytes.HasPrefix(l.Payload, payload) || !strings.Contains(c.cut, "body") && len(payload) != len(l.Payload) {
			t.Errorf("%s: %d bytes of %d of the body", what, len(payload), len(l.Payload))
		}
		if headers[headerTopic] != "t" || headers[HeaderID] != l.ID {
			t.Errorf("%s: headers %v", what, headers)
		}
	}
	db := database(t)
	l := hostile()
	l.Payload = huge(6 << 20)
	if _, err := parkingOn(t, db, nil).Put(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	kept, copied := number(t, db, "SELECT length(payload) FROM deadletter.letters"), number(t, db, "SELECT length(payload) + length(key) + length(headers) FROM millrace.outbox")
	if kept != len(l.Payload) || copied > 4<<20 {
		t.Errorf("%d of %d bytes are kept, the copy has %d", kept, len(l.Payload), copied)
	}
}

// Whatever a header is called, the index can be searched: JSON of Postgres does not take everything that Go's does.
func TestHeadersCanBeSearched(t *testing.T) {
	db := database(t)
	l := hostile()
	l.Headers = map[string]string{"a\x00b": "1", "\xff": "2", "plain": "3\x00"}
	if _, err := parkingOn(t, db, nil).Put(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if n := number(t, db, "SELECT count(*) FROM deadletter.letters WHERE headers ->> 'a\uFFFDb' = '1' AND headers ->> 'nothing' IS NULL"); n != 1 {
		t.Errorf("%d letters are found, want 1", n)
	}
	found, err := NewDesk(db, nil, "tester").Find(t.Context(), l.ID)
	if err != nil || found.Original()["plain"] != "3\x00" || found.Headers[outbox.HeaderUUID] != "" {
		t.Errorf("%v, %v", found, err)
	}
}
