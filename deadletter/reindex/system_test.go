package reindex_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/deadletter"
	"millrace/deadletter/deadlettertest"
	"millrace/deadletter/reindex"
	"millrace/event"
	"millrace/outbox"
	"millrace/testserver"
	"millrace/transport"
)

func TestMain(m *testing.M) { testserver.Main(m) }

const (
	service = deadlettertest.Service
	group   = deadlettertest.Group
)

var topics = []string{"t0", "t1", "t2"}

// system is one service with its log, its letters, and a redriver.
type system struct {
	t       *testing.T
	db      *sql.DB
	store   *deadlettertest.Store
	parking *deadletter.Parking
	desk    *deadletter.Desk
	fails   func(messageID string) error

	mu    sync.Mutex
	log   []transport.LogRecord
	clock time.Time
	next  map[string]int64 // offsets, by topic and partition
	scans map[string]int   // by topic
}

func newSystem(t *testing.T, fails func(messageID string) error) *system {
	t.Helper()
	s := &system{t: t, db: testserver.Postgres(t), fails: fails, clock: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), next: map[string]int64{}, scans: map[string]int{}}
	deadlettertest.Migrate(t, s.db, deadletter.Schema, deadletter.Migrations())
	s.store = deadlettertest.NewStore(t, s.db)
	log, marks := deadlettertest.Log(t), outbox.NewMarks(s.db, s.store)
	s.parking = deadletter.NewParking(s.db, service, marks, nil, deadletter.Options{Logger: log})
	s.desk = deadletter.NewDesk(s.db, map[string]*outbox.Marks{service: marks}, "tester")
	deadlettertest.Start(t, s.store).Redrive(deadletter.NewRedriver(s.parking, log), func(msg *message.Message) {
		letter, _ := deadletter.Redriven(msg.Context())
		err := s.handle(msg.Context(), letter, false)
		deadletter.Settle(msg.Context(), deadletter.Outcome{Err: err, Final: !outbox.IsTransient(err), RetryIn: time.Millisecond, Attempts: 1, Version: "v2"})
	}, topics...)
	return s
}

// write appends a message to the log. Its key says the order, its body what is to be seen.
func (s *system) write(topic string, order event.OrderID, body string) transport.LogRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := transport.LogRecord{Record: transport.Record{Topic: topic, Key: []byte(order), Value: []byte(body), Headers: []transport.Header{
		{Key: outbox.HeaderID, Value: []byte(uuid.NewString())}, {Key: "nul", Value: []byte("a\x00")}}}}
	r.Partition = int32(order[len(order)-1]) % 3
	s.clock = s.clock.Add(time.Millisecond)
	r.Time = s.clock
	place := fmt.Sprint(topic, "/", r.Partition)
	r.Offset = s.next[place]
	s.next[place]++
	s.log = append(s.log, r)
	return r
}

// parkable is what the middleware makes of a record.
func parkable(r transport.LogRecord) (deadletter.Letter, bool) {
	msg := transport.Decode(r.Topic, r.Partition, r.Offset, r.Value, r.Headers)
	l := deadletter.Letter{
		ID: deadletter.NewID(group, msg.UUID), Service: service, Group: group, Handler: service + "/" + r.Topic, MessageID: msg.UUID, CorrelationID: "c",
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Headers: msg.Metadata, Payload: r.Value, PublishedAt: r.Time,
		Status: deadletter.New, Attempts: 1, Version: "v1", FirstFailed: time.Now(), LastFailed: time.Now(),
	}
	if string(r.Value) == unreadable || len(r.Value) > tooLarge {
		return l, false
	}
	l.OrderID = string(r.Key)
	return l, true
}

// unreadable is a body that tells nothing.
const unreadable = "?"

// tooLarge is a body that no topic of ours takes whole.
const tooLarge = 3 << 20

var errUnreadable = errors.New("the body is not readable")

func (s *system) handle(ctx context.Context, l deadletter.Letter, fromLog bool) error {
	if string(l.Payload) == unreadable || len(l.Payload) > tooLarge {
		return errUnreadable
	}
	if err := s.fails(l.MessageID); err != nil {
		return err
	}
	text := l.Topic + " " + strings.TrimSpace(string(l.Payload)) // edited ones end with a space
	return deadlettertest.See(ctx, s.store, event.Cause{ID: l.MessageID, CorrelationID: "c", Parkable: fromLog}, event.OrderID(l.Key), text)
}

// deliver is what the middleware does with a record.
func (s *system) deliver(ctx context.Context, r transport.LogRecord) {
	for {
		l, _ := parkable(r)
		err := s.handle(ctx, l, true)
		if err == nil {
			return
		}
		put := s.parking.Put
		if errors.Is(err, outbox.ErrParked) {
			put = s.parking.Behind
		} else if outbox.IsTransient(err) {
			continue
		} else {
			l.Describe(err)
		}
		if status, err := put(ctx, l); err == nil && status != "" {
			return
		} // else it is delivered again
	}
}

// Scan implements reindex.Log: the service's topics, and what the relay would have sent of the outbox.
func (s *system) Scan(ctx context.Context, wanted []string, _ time.Time, do func(transport.LogRecord) error) error {
	s.mu.Lock()
	for _, topic := range wanted {
		s.scans[topic]++
	}
	records := append([]transport.LogRecord{}, s.log...)
	s.mu.Unlock()
	copies, err := s.copies(ctx)
	if err != nil {
		return err
	}
	for _, r := range append(records, copies...) {
		for _, topic := range wanted {
			if topic != r.Topic {
				continue
			}
			if err := do(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReadAt implements reindex.Log.
func (s *system) ReadAt(_ context.Context, topic string, partition int32, offset int64) (transport.LogRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.log {
		if r.Topic == topic && r.Partition == partition && r.Offset == offset {
			return r, nil
		}
	}
	return transport.LogRecord{}, transport.ErrNoRecord
}

func (s *system) copies(ctx context.Context) (list []transport.LogRecord, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, topic, key, payload, headers FROM millrace.outbox ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r transport.LogRecord
		var headers []byte
		if err := rows.Scan(&r.Offset, &r.Topic, &r.Key, &r.Value, &headers); err != nil {
			return nil, err
		}
		names := map[string]string{}
		if err := json.Unmarshal(headers, &names); err != nil {
			return nil, err
		}
		for name, value := range names {
			r.Headers = append(r.Headers, transport.Header{Key: name, Value: []byte(value)})
		}
		r.Time = time.Now()
		list = append(list, r)
	}
	return list, rows.Err()
}

func (s *system) run(ctx context.Context, dryRun bool) (reindex.Report, error) {
	return reindex.Run(ctx, s, reindex.Service{Name: service, Group: group, Topics: topics, Desk: s.desk, Parkable: parkable}, dryRun)
}

func (s *system) reindex(dryRun bool) reindex.Report {
	s.t.Helper()
	report, err := s.run(s.t.Context(), dryRun)
	if err != nil {
		s.t.Fatal(err)
	}
	return report
}

// one is a query's only value.
func one[T any](s *system, query string, args ...any) (v T) {
	s.t.Helper()
	if err := s.db.QueryRow(query, args...).Scan(&v); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return v
}

func (s *system) exec(query string) {
	s.t.Helper()
	if _, err := s.db.Exec(query); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

// redrive asks for letters.
func (s *system) redrive(ids ...string) {
	s.t.Helper()
	if _, err := s.desk.Redrive(s.t.Context(), ids, "again"); err != nil {
		s.t.Error(err)
	}
}

// letters are the ids of those with a status, in the order of their places.
func (s *system) letters(status deadletter.Status) (list []string) {
	s.t.Helper()
	rows, err := s.db.Query("SELECT id FROM deadletter.letters WHERE status = $1 ORDER BY position", string(status))
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			s.t.Fatal(err)
		}
		list = append(list, id)
	}
	return list
}
