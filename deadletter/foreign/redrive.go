package foreign

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"millrace/deadletter/dialect"
	"millrace/outbox"
	"millrace/transport"
)

// Sender writes records where they are to be.
type Sender interface {
	// Send returns when every record is acknowledged, or has failed; errs has one entry for each.
	Send(ctx context.Context, records []transport.LogRecord) (errs []error)
}

// Redrive is what is to be sent back.
type Redrive struct {
	Selection
	// To is the topic.
	To string
	// Limit bounds how many are sent; 0: all.
	Limit int64
	// Reason is for the record of what was done.
	Reason string
	// Drop names headers, besides those of the failure, that do not go along: of a replicator, for instance.
	Drop []string
}

// Tally is what became of the letters of a redrive.
type Tally struct {
	// Sent letters were acknowledged by the topic they were to go to.
	Sent int64 `json:"sent"`
	// Before were sent back already, by this redrive's forerunners or by somebody else.
	Before int64 `json:"sentBefore"`
	// Ours are letters of this system, which go to the service that failed and nowhere else: router dlq redrive.
	Ours int64 `json:"ours"`
	// Failed could not be sent.
	Failed int64 `json:"failed"`
}

const (
	// sendAtOnce and sendBytes bound what is sent in one transaction.
	sendAtOnce = 100
	sendBytes  = 4 << 20
	// sendLimit bounds it in time: the broker's answer, and as much again.
	sendLimit = 30 * time.Second
)

// Redrive sends the messages of the selected letters to a topic, those of a partition in their order, each once. It
// ends with the letters that lay there when it began, at the first that cannot be sent, or when ctx ends; what was
// sent until then is remembered. progress is called after each batch.
//
// A crash between the broker's answer and the commit that remembers it has up to a hundred messages sent again by the
// next redrive, as has an answer that never comes. Each message carries where its letter lies, in
// HeaderFrom, the same each time.
func (d *Desk) Redrive(ctx context.Context, sender Sender, r Redrive, progress func(Tally)) (Tally, error) {
	var tally Tally
	var batch []*Letter
	bytes := 0
	way, err := d.Route(ctx, r.Topic, r.To)
	if err != nil {
		return tally, fmt.Errorf("redrive letters of %s to %s: %w", r.Topic, r.To, err)
	}
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := d.send(ctx, sender, r, way, batch, &tally)
		batch, bytes = nil, 0
		progress(tally)
		return err
	}
	begins := map[int32]int64{}
	err = d.each(ctx, r.Selection, func(r transport.LogRecord) {
		if _, known := begins[r.Partition]; !known {
			begins[r.Partition] = r.Offset
		}
	}, func(l *Letter) error {
		switch {
		case l.Dialect == dialect.Ours:
			tally.Ours++
			return nil
		case !l.SentAt.IsZero():
			tally.Before++
			return nil
		case r.Limit > 0 && tally.Sent+int64(len(batch)) >= r.Limit:
			return errEnough
		}
		batch = append(batch, l)
		if bytes += len(l.Record.Value); len(batch) < sendAtOnce && bytes < sendBytes {
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err == nil || errors.Is(err, errEnough) {
		err = flush()
	}
	if err == nil && r.Since.IsZero() {
		err = d.forgetGone(ctx, r.Topic, begins)
	}
	if err != nil {
		return tally, fmt.Errorf("redrive letters of %s to %s: %w", r.Topic, r.To, err)
	}
	return tally, nil
}

// gone are letters before the first one that a partition still keeps: they cannot be sent again. So no more is
// remembered than there are letters.
const gone = `DELETE FROM deadletter.sent_back t USING unnest($2::bigint[], $3::bigint[]) AS d(partition, begins)
WHERE t.topic = $1 AND t.partition = d.partition AND t.kafka_offset < d.begins`

func (d *Desk) forgetGone(ctx context.Context, topic string, begins map[int32]int64) error {
	var partitions, offsets outbox.BigintArray
	for partition, offset := range begins {
		partitions, offsets = append(partitions, int64(partition)), append(offsets, offset)
	}
	if len(partitions) == 0 {
		return nil
	}
	if _, err := d.db.ExecContext(ctx, gone, topic, partitions, offsets); err != nil {
		return fmt.Errorf("forget what %s does not keep any more: %w", topic, err)
	}
	return nil
}

var errEnough = errors.New("as many as were wanted")

// claim remembers letters, in an order that everybody keeps. Those that somebody remembered before are missing in
// its answer; it waits for whoever is about to.
const claim = `INSERT INTO deadletter.sent_back (topic, partition, kafka_offset, written_at, sent_to, who, reason)
SELECT $1, d.partition, d.kafka_offset, d.written_at, $5, $6, $7 FROM unnest($2::bigint[], $3::bigint[], $4::timestamptz[]) AS d(partition, kafka_offset, written_at)
ORDER BY d.partition, d.kafka_offset ON CONFLICT DO NOTHING RETURNING partition, kafka_offset`

const forget = `DELETE FROM deadletter.sent_back t USING unnest($2::bigint[], $3::bigint[], $4::timestamptz[]) AS d(partition, kafka_offset, written_at)
WHERE t.topic = $1 AND t.partition = d.partition AND t.kafka_offset = d.kafka_offset AND t.written_at = d.written_at`

// send remembers a batch, sends it, and commits: nobody else sends one of them meanwhile, and nothing is
// remembered that was not acknowledged. The end of ctx does not interrupt it.
func (d *Desk) send(ctx context.Context, sender Sender, r Redrive, way Route, batch []*Letter, tally *Tally) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendLimit)
	defer cancel()
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("remember what is sent: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	mine, err := d.claim(ctx, tx, r, batch)
	if err != nil {
		return err
	}
	records := make([]transport.LogRecord, len(mine))
	for i, l := range mine {
		records[i] = l.Original(way, r.Drop)
	}
	var failed []*Letter
	var first error
	for i, err := range sender.Send(ctx, records) {
		if err == nil {
			continue
		}
		failed = append(failed, mine[i])
		if first == nil {
			first = fmt.Errorf("the letter at %s could not be sent (leave it out with: not id:%s): %w", mine[i].Place(), mine[i].ID, err)
		}
	}
	if len(failed) > 0 {
		partitions, offsets, times := placesOf(failed)
		if _, err := tx.ExecContext(ctx, forget, r.Topic, partitions, offsets, times); err != nil {
			return fmt.Errorf("forget what was not sent: %w; %w", err, first)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("remember that %d were sent, which are sent again next time: %w", len(mine)-len(failed), err)
	}
	tally.Sent += int64(len(mine) - len(failed))
	tally.Before += int64(len(batch) - len(mine))
	tally.Failed += int64(len(failed))
	return first
}

// claim returns the letters of a batch that nobody has sent, in their order.
func (d *Desk) claim(ctx context.Context, tx *sql.Tx, r Redrive, batch []*Letter) ([]*Letter, error) {
	partitions, offsets, times := placesOf(batch)
	rows, err := tx.QueryContext(ctx, claim, r.Topic, partitions, offsets, times, r.To, d.who, r.Reason)
	if err != nil {
		return nil, fmt.Errorf("remember what is sent: %w", err)
	}
	defer rows.Close()
	type place struct {
		partition int32
		offset    int64
	}
	free := map[place]bool{}
	for rows.Next() {
		var p place
		if err := rows.Scan(&p.partition, &p.offset); err != nil {
			return nil, fmt.Errorf("remember what is sent: %w", err)
		}
		free[p] = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("remember what is sent: %w", err)
	}
	var mine []*Letter
	for _, l := range batch {
		if free[place{l.Record.Partition, l.Record.Offset}] {
			mine = append(mine, l)
		}
	}
	return mine, nil
}

func placesOf(list []*Letter) (partitions, offsets outbox.BigintArray, times outbox.TimestamptzArray) {
	for _, l := range list {
		partitions, offsets, times = append(partitions, int64(l.Record.Partition)), append(offsets, l.Record.Offset), append(times, l.Record.Time)
	}
	return partitions, offsets, times
}
