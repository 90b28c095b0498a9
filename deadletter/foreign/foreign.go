// Package foreign reads topics with dead letters that other systems wrote, and sends their messages to a topic somebody
// names. The topic of the letters stays as it is: what was sent back is remembered in Postgres.
package foreign

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"

	"millrace/deadletter"
	"millrace/deadletter/dialect"
	"millrace/deadletter/filter"
	"millrace/transport"
)

// Log is where records are read.
type Log interface {
	// Scan calls do for each record that lies in the topics when it begins, those of a partition in their order.
	Scan(ctx context.Context, topics []string, since time.Time, do func(transport.LogRecord) error) error
	// ReadAt returns one record.
	ReadAt(ctx context.Context, topic string, partition int32, offset int64) (transport.LogRecord, error)
	// Partitions tells how many partitions a topic has; an error where there is no such topic.
	Partitions(ctx context.Context, topic string) (int, error)
}

// Letter is a record of a topic with dead letters.
type Letter struct {
	// Letter has what the record says of the failure: Topic, Partition and Offset are where the message came from. An
	// unknown partition or offset is -1, and an unknown time zero.
	deadletter.Letter
	Dialect dialect.Name
	// Record is the letter as it lies in its topic.
	Record transport.LogRecord
	// SentAt and SentTo tell when and where it was sent back; zero and empty: it was not.
	SentAt time.Time
	SentTo string
}

// Place is the letter's place in its topic, as in 2@17.
func (l *Letter) Place() string { return fmt.Sprintf("%d@%d", l.Record.Partition, l.Record.Offset) }

// Selection is which letters of a topic are meant.
type Selection struct {
	Topic string
	// Since leaves out what was written before; it spares reading that. Zero: nothing.
	Since time.Time
	// Filter is a condition. Its fields are those of our own letters; status is new, or redriven.
	Filter filter.Condition
}

// Desk is where somebody looks at the letters of other systems, and sends them back.
type Desk struct {
	db  *sql.DB
	log Log
	who string
}

// NewDesk returns a desk at which who decides. db has the schema of deadletter.
func NewDesk(db *sql.DB, log Log, who string) *Desk { return &Desk{db: db, log: log, who: who} }

const (
	// chosenAtOnce and chosenBytes bound the letters in memory that are compared with a filter.
	chosenAtOnce = 200
	chosenBytes  = 8 << 20
)

// Each calls do for each letter of the selection that lies there now: those of a partition in their order, and so the
// oldest first. A topic of any length takes the same memory.
func (d *Desk) Each(ctx context.Context, s Selection, do func(*Letter) error) error {
	return d.each(ctx, s, func(transport.LogRecord) {}, do)
}

// each calls seen besides, for each record, chosen or not.
func (d *Desk) each(ctx context.Context, s Selection, seen func(transport.LogRecord), do func(*Letter) error) error {
	var batch []*Letter
	bytes := 0
	flush := func() error {
		chosen, err := d.choose(ctx, s.Filter, batch)
		batch, bytes = nil, 0
		for _, l := range chosen {
			if err == nil {
				err = do(l)
			}
		}
		return err
	}
	err := d.log.Scan(ctx, []string{s.Topic}, s.Since, func(r transport.LogRecord) error {
		seen(r)
		l := read(r)
		batch = append(batch, l)
		if bytes += len(r.Value); len(batch) < chosenAtOnce && bytes < chosenBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// Find returns the letter at a place.
func (d *Desk) Find(ctx context.Context, topic string, partition int32, offset int64) (*Letter, error) {
	r, err := d.log.ReadAt(ctx, topic, partition, offset)
	if err != nil {
		return nil, err
	}
	list, err := d.choose(ctx, filter.Condition{SQL: "true"}, []*Letter{read(r)})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func read(r transport.LogRecord) *Letter {
	l := &Letter{Record: r}
	l.Letter, l.Dialect = dialect.Read(r)
	if uuid.Validate(l.ID) != nil { // anybody may write that header
		l.ID = deadletter.NewID("", r.Place())
	}
	return l
}

// Group are the letters of one fingerprint.
type Group struct {
	Fingerprint string       `json:"group"`
	Dialect     dialect.Name `json:"writtenBy"`
	Topic       string       `json:"topic"` // where the first of them came from
	Handler     string       `json:"handler"`
	ErrorType   string       `json:"errorType"`
	Error       string       `json:"error"` // of the last one
	Letters     int64        `json:"letters"`
	Redriven    int64        `json:"redriven"`
	First       time.Time    `json:"firstFailed"`
	Last        time.Time    `json:"lastFailed"`
	Example     string       `json:"example"` // the last one's place
}

// maxGroups bounds the groups. Where every letter is of a kind of its own, grouping tells nothing anyway.
const maxGroups = 10_000

// Groups are the letters of the selection by fingerprint, in no order. The letters that are beyond the first ten
// thousand kinds are one group, without a fingerprint.
func (d *Desk) Groups(ctx context.Context, s Selection) ([]*Group, error) {
	byKind := map[string]*Group{}
	var list []*Group
	err := d.Each(ctx, s, func(l *Letter) error {
		kind := l.Fingerprint()
		if byKind[kind] == nil && len(list) >= maxGroups {
			kind = ""
		}
		g := byKind[kind]
		if g == nil {
			g = &Group{Fingerprint: kind, Dialect: l.Dialect, Topic: l.Topic, First: l.FirstFailed}
			byKind[kind] = g
			list = append(list, g)
		}
		g.Letters++
		if !l.SentAt.IsZero() {
			g.Redriven++
		}
		if l.FirstFailed.Before(g.First) {
			g.First = l.FirstFailed
		}
		if !l.LastFailed.Before(g.Last) {
			g.Last, g.Example, g.Handler, g.ErrorType, g.Error = l.LastFailed, l.Place(), l.Handler, l.ErrorType, l.Error
		}
		return nil
	})
	return list, err
}
