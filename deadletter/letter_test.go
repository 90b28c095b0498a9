package deadletter

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/deadletter/deadlettertest"
	"millrace/outbox"
)

// hostile is a letter about a message that means harm.
func hostile() Letter {
	id := uuid.NewString()
	l := Letter{
		ID: NewID("order-service", id), Service: "order", Group: "order-service", Handler: "order/t", MessageID: id, Topic: "t",
		Key: []byte{0xff, 0}, Payload: bytes.Repeat([]byte{0, 0xff}, 500_000),
		Headers:     map[string]string{"nul": "a\x00b", "binary": "\xff\xfe", "\xffname": "x", "_watermill_message_uuid": "theirs", "plain": "x"},
		FirstFailed: time.Now(), LastFailed: time.Now(), PublishedAt: time.Now(), Status: New,
	}
	l.Describe(errors.New("quoted \x00 \xff " + strings.Repeat("ä", maxErrorText)))
	return l
}

// parkingOn keeps letters of the test's service.
func parkingOn(t *testing.T, db *sql.DB, wake func()) *Parking {
	store := deadlettertest.NewStore(t, db)
	return NewParking(db, "order", outbox.NewMarks(db, store), wake, Options{})
}

func TestALetterAndItsCopyAreWrittenOnce(t *testing.T) {
	db, l := database(t), hostile()
	woken := 0
	letters := parkingOn(t, db, func() { woken++ })
	for range 3 {
		if _, err := letters.Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	var payload, key []byte
	if err := db.QueryRow("SELECT count(*) OVER (), payload, key FROM deadletter.letters").Scan(&n, &payload, &key); err != nil {
		t.Fatal(err)
	}
	if n != 1 || woken != 1 || !bytes.Equal(payload, l.Payload) || !bytes.Equal(key, l.Key) {
		t.Errorf("%d letters, the relay woken %d times, %d bytes of %d, key %x", n, woken, len(payload), len(l.Payload), key)
	}
	var copied, headers []byte
	if err := db.QueryRow("SELECT count(*) OVER (), payload, headers FROM millrace.outbox WHERE topic = 'dlq.order-service'").Scan(&n, &copied, &headers); err != nil {
		t.Fatal(err)
	}
	head := map[string]string{}
	if err := json.Unmarshal(headers, &head); err != nil {
		t.Fatal(err)
	}
	if n != 1 || !bytes.Equal(copied, l.Payload) {
		t.Errorf("%d copies of %d bytes", n, len(copied))
	}
	for name, want := range map[string]string{
		"nul_base64": "YQBi", "binary_base64": "//4=", "plain": "x", outbox.HeaderUUID: l.ID,
		headerReason: l.Error, headerTopic: "t", headerHandler: "order/t", headerSubscriber: "order-service",
	} {
		if head[name] != want {
			t.Errorf("header %s is %q, want %q", name, head[name], want)
		}
	}
}

func TestALetterWithoutItsCopyIsNotWritten(t *testing.T) {
	db := database(t)
	if _, err := db.Exec("ALTER TABLE millrace.outbox RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	if _, err := parkingOn(t, db, nil).Put(t.Context(), hostile()); err == nil {
		t.Error("no error, though the copy has nowhere to go")
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := parkingOn(t, db, nil).Put(stopped, hostile()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	var n int
	if err := db.QueryRow("SELECT count(*) FROM deadletter.letters").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d letters are left, %v", n, err)
	}
}
