package deadletter

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"millrace/event"
	"millrace/groupcommit"
	"millrace/outbox"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the Postgres schema of the letters.
const Schema = "deadletter"

// Migrations are the steps that make and change Schema.
func Migrations() fs.FS { return outbox.Steps(migrations, "migrations") }

// Topic is where a consumer group's letters are published.
func Topic(group string) string { return "dlq." + group }

// Parking is where one service's messages go that cannot be processed, and those that must wait
// behind them. All that is done to a lane is done while the order's row is locked, so nothing can
// overtake.
type Parking struct {
	db      *sql.DB
	service string
	marks   *outbox.Marks
	wake    func()
	appends *groupcommit.Group[*entry]
	settles *groupcommit.Group[*settlement]
	most    int64
	lease   time.Duration
	flood   flood
	watch   watch
}

const (
	// maxBatch bounds one transaction: a flood of letters, or the end of one, is written in few.
	maxBatch = 200
	// maxSettled is the same for outcomes, which are a few words each.
	maxSettled = 500
	// writeLimit bounds one transaction, in which rows of the outbox appear: the relay relies on no
	// transaction of ours being longer.
	writeLimit = 5 * time.Second
	// maxOpen is how many messages of a service may be put aside, about; then it is paused: its log keeps the
	// others, for as long as it keeps anything. At a few KB each it is some GB of table.
	maxOpen = 1_000_000
)

// Options are what may differ between services.
type Options struct {
	// FloodLimit is how many letters of one fingerprint a minute are a flood, which pauses the service
	// instead of parking the world. 0: there is no such number.
	FloodLimit int
	// Logger is slog.Default when nil.
	Logger *slog.Logger
}

// NewParking keeps a service's letters in db, where marks are those of its rows. wake is called after
// a letter was written, so that the relay publishes its copy; nil is allowed.
func NewParking(db *sql.DB, service string, marks *outbox.Marks, wake func(), opts Options) *Parking {
	if wake == nil {
		wake = func() {}
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	p := &Parking{db: db, service: service, marks: marks, wake: wake, most: maxOpen, lease: redriveLease, flood: flood{limit: opts.FloodLimit}, watch: watch{log: opts.Logger}}
	p.appends = groupcommit.New(maxBatch, writeLimit, func(ctx context.Context, batch []*entry) error {
		return bisected(ctx, batch, func(e *entry) *member { return &e.member }, p.append)
	})
	p.settles = groupcommit.New(maxSettled, writeLimit, func(ctx context.Context, batch []*settlement) error {
		return bisected(ctx, batch, func(s *settlement) *member { return &s.member }, p.settle)
	})
	return p
}

// Service is whose messages it keeps.
func (p *Parking) Service() string { return p.service }

// entry is a message that is to be put aside.
type entry struct {
	member
	letter Letter
	// failed: it becomes the letter its order waits behind. Otherwise it is only put behind one.
	failed bool
	// status is what it is now; empty if there is no letter to wait behind.
	status Status
}

// Put keeps a message that failed, and its copy for Kafka, together or not at all. l.Status is New, or
// Retrying for one that is tried again by itself at l.RetryAt, which nobody else is told of. From now
// on the messages of its order wait behind it; if they do already, it waits with them, and its failure
// is forgotten: it will be tried again in its turn. A message without an order holds nobody up.
//
// It returns what became of the message: New, Retrying or Parked; Known for one that was put aside before, which
// changes nothing. In a flood of failures of one kind, or when a million messages are put aside, nothing more
// is: it returns ErrPaused, and the message is to be held until Await returns.
func (p *Parking) Put(ctx context.Context, l Letter) (Status, error) {
	if l.Status != New {
		return p.put(ctx, &entry{letter: l, failed: true})
	}
	if p.flood.add(l.Fingerprint(), time.Now()) {
		if known, err := p.isKnown(ctx, l); err != nil || known {
			p.flood.takeBack(l.Fingerprint())
			return Known, err
		}
		return "", p.pause(ctx, Pause{Fingerprint: l.Fingerprint(), Error: l.Error}, int64(p.flood.limit))
	}
	status, err := p.put(ctx, &entry{letter: l, failed: true})
	if status != New {
		p.flood.takeBack(l.Fingerprint())
	}
	return status, err
}

// Behind puts a message behind the letter its order waits for; otherwise it is like Put. If there is no letter any
// more, it returns an empty status, and the message can be processed.
func (p *Parking) Behind(ctx context.Context, l Letter) (Status, error) {
	return p.put(ctx, &entry{letter: l})
}

func (p *Parking) put(ctx context.Context, e *entry) (Status, error) {
	if d := p.Depth(); d.Letters+d.Parked >= p.most {
		return "", p.pause(ctx, Pause{Error: fmt.Sprintf("%d messages are put aside: redrive or drop them", p.most)}, d.Letters)
	}
	if err := untilFree(ctx, &e.member, func() error { return p.appends.Do(ctx, e) }); err != nil {
		return "", err
	}
	return e.status, nil
}

// append puts a batch aside.
func (p *Parking) append(ctx context.Context, batch []*entry) error {
	for {
		err := p.appendOnce(ctx, batch)
		if !errors.Is(err, errAppeared) {
			return err
		}
	}
}

func (p *Parking) appendOnce(ctx context.Context, batch []*entry) error {
	var ids []event.OrderID
	for _, e := range batch {
		if e.letter.OrderID != "" {
			ids = append(ids, event.OrderID(e.letter.OrderID))
		}
	}
	var copies bool
	err := p.marks.TryHold(ctx, ids, func(ctx context.Context, tx *sql.Tx, marked map[event.OrderID]bool) error {
		known, err := identities(ctx, tx, batch)
		if err != nil {
			return err
		}
		var w appendWrite
		for _, e := range batch {
			e.member, e.status = member{}, ""
			isKnown := known.find(&e.letter)
			id := event.OrderID(e.letter.OrderID)
			parked, got := marked[id]
			switch {
			case isKnown: // it came again: it lies where it was put, or was settled since
				e.status = Known
				continue
			case id != "" && !got:
				e.held = true
				continue
			case parked:
				e.status = Parked
			case !e.failed:
				continue
			default:
				e.status = e.letter.Status
				if id != "" {
					marked[id] = true
				}
				w.lane(&e.letter)
			}
			known[e.letter.ID] = identityOf(&e.letter)
			w.letter(&e.letter, e.status)
		}
		copies = len(w.copies) > 0
		return w.run(ctx, tx, p.service)
	})
	if err == nil && copies {
		p.wake()
	}
	return err
}
