package deadletter

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/outbox"
	"millrace/transport"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the Postgres schema of the letters.
const Schema = "deadletter"

// Migrations are the steps that make and change Schema.
func Migrations() fs.FS { return outbox.Steps(migrations, "migrations") }

// Postgres keeps letters in one service's database.
type Postgres struct {
	db   *sql.DB
	wake func()
}

// NewPostgres keeps letters in db. wake is called after a letter was written,
// so that the relay publishes its copy; nil is allowed.
func NewPostgres(db *sql.DB, wake func()) *Postgres {
	if wake == nil {
		wake = func() {}
	}
	return &Postgres{db: db, wake: wake}
}

const insertLetter = `INSERT INTO deadletter.letters
(id, service, consumer_group, handler, order_id, message_id, correlation_id, topic, partition, kafka_offset, key, headers, payload,
 attempts, error_type, error, first_failed_at, last_failed_at, version)
VALUES ($1, $2, $3, $4, nullif($5, '')::uuid, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
ON CONFLICT (id) DO NOTHING`

// writeLimit bounds the transaction of one letter, in which rows of the outbox
// appear: the relay relies on no transaction of ours being longer.
const writeLimit = 5 * time.Second

// Put writes the letter and its copy for Kafka, together or not at all. The same
// letter again changes nothing.
func (p *Postgres) Put(ctx context.Context, l Letter) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	headers, err := l.headersJSON()
	if err != nil {
		return err
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write letter %s: %w", l.ID, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	result, err := tx.ExecContext(ctx, insertLetter, l.ID, l.Service, l.Group, l.Handler, l.OrderID, l.MessageID, l.CorrelationID,
		l.Topic, l.Partition, l.Offset, l.Key, headers, nonNil(l.Payload), l.Attempts, l.ErrorType, l.Error, l.FirstFailed, l.LastFailed, l.Version)
	if err != nil {
		return fmt.Errorf("write letter %s: %w", l.ID, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	publisher, err := outbox.NewPublisher(tx, l.Service)
	if err != nil {
		return err
	}
	msg := message.NewMessage(l.ID, l.Payload)
	msg.Metadata = l.kafkaHeaders()
	delete(msg.Metadata, outbox.HeaderUUID) // the copy's own id is the letter's
	msg.SetContext(transport.WithKey(ctx, l.Key))
	if err := publisher.Publish(Topic(l.Group), msg); err != nil {
		return fmt.Errorf("write letter %s to the outbox: %w", l.ID, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write letter %s: %w", l.ID, err)
	}
	p.wake()
	return nil
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Topic is where a consumer group's letters are published.
func Topic(group string) string { return "dlq." + group }
