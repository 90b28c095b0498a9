package outbox

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
)

// broker is a publisher that remembers what reached the log, key by key.
type broker struct {
	mu  sync.Mutex
	log map[string][]int
	n   int
	// refuse, if set, decides about a record before it is written.
	refuse func(transport.Record) error
	// after, if set, runs when a batch is in the log; its error is what the relay gets to see.
	after func(ctx context.Context) error
}

func (b *broker) Publish(topic string, msgs ...*message.Message) error {
	for _, msg := range msgs {
		r := transport.Record{Topic: topic, Key: transport.Key(msg), Value: msg.Payload}
		if errs := b.PublishBatch(msg.Context(), []transport.Record{r}); errs[0] != nil {
			return errs[0]
		}
	}
	return nil
}

func (b *broker) Close() error { return nil }

func (b *broker) PublishBatch(ctx context.Context, records []transport.Record) []error {
	errs := make([]error, len(records))
	failed := map[string]bool{}
	b.mu.Lock()
	for i, r := range records {
		key := string(r.Key)
		if failed[key] {
			errs[i] = errors.New("behind")
		} else if b.refuse != nil {
			errs[i] = b.refuse(r)
		}
		if errs[i] != nil {
			failed[key] = true
			continue
		}
		n, err := strconv.Atoi(string(r.Value))
		if err != nil {
			panic(err)
		}
		if b.log == nil {
			b.log = map[string][]int{}
		}
		b.log[key] = append(b.log[key], n)
		b.n++
	}
	after := b.after
	b.mu.Unlock()
	if after != nil {
		if err := after(ctx); err != nil {
			for i := range errs {
				errs[i] = err
			}
		}
	}
	return errs
}

func (b *broker) setRefuse(f func(transport.Record) error) {
	b.mu.Lock()
	b.refuse = f
	b.mu.Unlock()
}

// published counts the records of a key, or with "" of all.
func (b *broker) published(key string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if key == "" {
		return b.n
	}
	return len(b.log[key])
}

// checkOrder demands that each key's first occurrences are 1, 2, … want.
func (b *broker) checkOrder(t *testing.T, want map[string]int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, n := range want {
		if err := firstOccurrences(b.log[key], n); err != nil {
			t.Errorf("key %s: %v", key, err)
		}
	}
}

func firstOccurrences(log []int, n int) error {
	last := 0
	for i, v := range log {
		switch {
		case v == last+1:
			last = v
		case v > last:
			return fmt.Errorf("at %d: %d came before %d", i, v, last+1)
		}
	}
	if last != n {
		return fmt.Errorf("%d of %d arrived", last, n)
	}
	return nil
}

// oneByOne hides that the broker can take batches.
type oneByOne struct{ *broker }

func (o oneByOne) PublishBatch() {}

// kafkaBatches is a small transport.BatchPublisher on the real protocol.
type kafkaBatches struct{ client *kgo.Client }

func (k kafkaBatches) Publish(string, ...*message.Message) error { return errors.New("not used") }
func (k kafkaBatches) Close() error                              { return nil }

func (k kafkaBatches) PublishBatch(ctx context.Context, records []transport.Record) []error {
	list := make([]*kgo.Record, len(records))
	at := map[*kgo.Record]int{}
	for i, r := range records {
		list[i] = &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value}
		at[list[i]] = i
	}
	errs := make([]error, len(records))
	for _, res := range k.client.ProduceSync(ctx, list...) {
		errs[at[res.Record]] = res.Err
	}
	return errs
}

// insertRow writes an outbox row; n is its number within its key.
func insertRow(t *testing.T, db interface {
	QueryRow(string, ...any) *sql.Row
}, key string, n int) (id int64) {
	t.Helper()
	err := db.QueryRow(`INSERT INTO millrace.outbox (service, topic, key, payload, headers) VALUES ('order', 'orders', $1, $2, '{"ce_id":"1"}') RETURNING id`,
		[]byte(key), []byte(strconv.Itoa(n))).Scan(&id)
	need(t, err)
	return id
}

func unsent(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	need(t, db.QueryRow(`SELECT count(*) FROM millrace.outbox`).Scan(&n))
	return n
}

// writers commit rows from many transactions at once: each locks its key's row, then
// inserts, commits and tells of the row. Some are rolled back and done again.
func writers(t *testing.T, db *sql.DB, keys, perKey, atOnce int, committed func(outboxRow)) map[string]int {
	t.Helper()
	_, err := db.Exec(`CREATE TABLE keys (key text PRIMARY KEY, n int NOT NULL DEFAULT 0)`)
	need(t, err)
	work := make(chan string, keys*perKey)
	want := map[string]int{}
	for range perKey {
		for k := range keys {
			key := "key-" + strconv.Itoa(k)
			work <- key
			want[key]++
		}
	}
	close(work)
	for key := range want {
		_, err := db.Exec(`INSERT INTO keys (key) VALUES ($1)`, key)
		need(t, err)
	}
	var group sync.WaitGroup
	errs := make(chan error, atOnce)
	for range atOnce {
		group.Go(func() {
			for key := range work {
				row, err := writeOne(db, key, rand.N(8) == 0)
				if errors.Is(err, errRolledBack) {
					row, err = writeOne(db, key, false)
				}
				if err != nil {
					errs <- err
					return
				}
				committed(row)
			}
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	return want
}

var errRolledBack = errors.New("rolled back")

func writeOne(db *sql.DB, key string, rollBack bool) (row outboxRow, err error) {
	tx, err := db.Begin()
	if err != nil {
		return row, err
	}
	defer tx.Rollback()
	var n int
	if err := tx.QueryRow(`UPDATE keys SET n = n + 1 WHERE key = $1 RETURNING n`, key).Scan(&n); err != nil {
		return row, err
	}
	row = outboxRow{topic: "orders", key: []byte(key), payload: []byte(strconv.Itoa(n)), headers: headerBlock("{}")}
	if err := tx.QueryRow(`INSERT INTO millrace.outbox (service, topic, key, payload, headers) VALUES ('order', $1, $2, $3, $4) RETURNING id`,
		row.topic, row.key, row.payload, []byte(row.headers)).Scan(&row.id); err != nil {
		return row, err
	}
	if rollBack {
		return row, errRolledBack
	}
	return row, tx.Commit()
}

// background runs f until the test ends or the returned function is called.
func background(t *testing.T, f func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func run(r *Relay) func(context.Context) { return func(ctx context.Context) { _ = r.Run(ctx) } }

// need ends the test at an error.
func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logged collects what is logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
