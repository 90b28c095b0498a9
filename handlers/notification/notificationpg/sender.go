package notificationpg

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"

	"millrace/groupcommit"
	"millrace/handlers/notification"
)

// Sender is the built-in provider for every channel: it writes what it would
// send to notification.sent, once per idempotency key, and to the log. It honours the
// key across processes and restarts, as a good provider does.
//
// One notice each would cost the disk one flush each. So calls that wait at the same
// time share an INSERT; a call that comes alone does not wait for others.
type Sender struct {
	db    *sql.DB
	log   *slog.Logger
	group *groupcommit.Group[*call]
}

type call struct {
	message notification.Message
	sentAt  time.Time
}

const (
	// maxBatch bounds one INSERT. A few hundred rows share a flush; more only add latency.
	maxBatch = 500
	// writeLimit bounds one INSERT in time. It is the server that is slow then, and the
	// callers will ask again.
	writeLimit = 10 * time.Second
)

// NewSender returns a sender that uses one connection of db at a time.
// A nil log is slog.Default.
func NewSender(db *sql.DB, log *slog.Logger) *Sender {
	if log == nil {
		log = slog.Default()
	}
	s := &Sender{db: db, log: log}
	s.group = groupcommit.New(maxBatch, writeLimit, s.insert)
	return s
}

// Send records m and returns when it was first recorded. A text that Postgres
// cannot hold is refused for good. When ctx ends, m may have been recorded nevertheless.
func (s *Sender) Send(ctx context.Context, m notification.Message) (time.Time, error) {
	for _, text := range []string{m.Key, m.CustomerID, m.To, m.Subject, m.Text} {
		if strings.ContainsRune(text, 0) {
			return time.Time{}, fmt.Errorf("%s: the message contains a NUL character: %w", m.NotificationID, notification.ErrRefused)
		}
	}
	c := &call{message: m}
	switch err := s.group.Do(ctx, c); {
	case err != nil:
		return time.Time{}, fmt.Errorf("write to notification.sent: %w", err)
	case c.sentAt.IsZero():
		return time.Time{}, errConcurrent
	}
	// Neither the address nor the text: both are personal, and a device token is a key.
	s.log.InfoContext(ctx, "notice sent", "order_id", m.OrderID, "kind", m.Kind, "channel", m.Channel,
		"notification_id", m.NotificationID, "subject", m.Subject)
	return c.sentAt, nil
}

// errConcurrent: another process recorded the same key while the statement ran, which
// the statement could therefore not see. The next try will.
var errConcurrent = errors.New("notification.sent: recorded by another process at this moment; ask again")

const insertSent = `WITH fresh AS (
  INSERT INTO notification.sent (key, notification_id, order_id, customer_id, kind, channel, recipient, subject, body)
  SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
  ON CONFLICT (key) DO NOTHING RETURNING key, sent_at)
SELECT key, sent_at FROM fresh
UNION ALL
SELECT key, sent_at FROM notification.sent WHERE key = ANY($1::text[])`

// insert records a batch in one statement and fills in each call's sentAt.
func (s *Sender) insert(ctx context.Context, batch []*call) error {
	// In one order everywhere, so that two processes with the same keys cannot deadlock.
	slices.SortFunc(batch, func(a, b *call) int { return cmp.Compare(a.message.Key, b.message.Key) })
	columns := make([][]string, 9)
	for _, c := range batch {
		m := c.message
		for i, v := range []string{
			m.Key, m.NotificationID, string(m.OrderID), m.CustomerID, string(m.Kind), string(m.Channel), m.To, m.Subject, m.Text,
		} {
			columns[i] = append(columns[i], v)
		}
	}
	args := make([]any, len(columns))
	for i, column := range columns {
		args[i] = pq.Array(column)
	}
	rows, err := s.db.QueryContext(ctx, insertSent, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	times := make(map[string]time.Time, len(batch))
	for rows.Next() {
		var key string
		var at time.Time
		if err := rows.Scan(&key, &at); err != nil {
			return err
		}
		times[key] = at.UTC()
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, c := range batch {
		c.sentAt = times[c.message.Key]
	}
	return nil
}
