package deadletter

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"millrace/outbox"
)

// Pace says how a redrive goes on.
type Pace struct {
	// Rate is how many letters a second are asked for; 0: as many as are processed.
	Rate float64
	// MaxFailures is after how many letters that failed again no more are asked for; 0: at the first. What
	// failed before a redrive was taken up again does not count.
	MaxFailures int64
}

const (
	// mostAsked is how many letters are under way at most: enough to keep a few replicas busy between two looks, and what
	// can still go wrong when the first ones fail.
	mostAsked = 2000
	// refill is the part of what may be under way that is asked for at a time: each asking is a transaction.
	refill = 4
	// soonestLook and latestLook bound the pause between looks at what became of the letters under way: the more nothing
	// comes of them, the longer. lookShare bounds what the looks cost: a pause is so many times as long as the look before it.
	// On a busy machine a large share would make the pauses what a redrive mostly consists of.
	soonestLook = 10 * time.Millisecond
	latestLook  = 200 * time.Millisecond
	lookShare   = 2
	// recountEvery is how often all letters of a redrive are counted: somebody else may be driving it too. recountShare bounds
	// what that costs: a pause is so many times as long as the count before it.
	recountEvery = time.Second
	recountShare = 20
	// rateBurst is the time whose letters may be asked for at once where there is a rate.
	rateBurst = 200 * time.Millisecond
)

// Drive asks for the letters of a redrive: one first, and when it got through, twice as many whenever as many as that
// got through, up to mostAsked under way. It tells progress how far it has come, and returns when all have an
// outcome, when too many failed, or when ctx ends; what was asked for then goes on nevertheless.
func (d *Desk) Drive(ctx context.Context, r Redrive, pace Pace, progress func(Tally)) (Tally, error) {
	g := &driving{desk: d, redrive: r, pace: pace, window: 1}
	if pace.Rate > 0 {
		g.limiter = rate.NewLimiter(rate.Limit(pace.Rate), max(int(pace.Rate*rateBurst.Seconds()), 1))
	}
	err := g.run(ctx, progress)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return g.Tally, err
}

// driving is a redrive under way.
type driving struct {
	desk    *Desk
	redrive Redrive
	pace    Pace
	limiter *rate.Limiter // nil: there is no rate
	first   Tally         // when it began
	Tally
	window  int64 // how many may be under way
	through int64 // how many got through since it was widened
	counted time.Time
	resting time.Duration // until they are counted again
}

func (g *driving) run(ctx context.Context, progress func(Tally)) (err error) {
	if err := g.desk.Begin(ctx, g.redrive.ID); err != nil {
		return err
	}
	if g.Tally, err = g.desk.tally(ctx, g.redrive.ID); err != nil {
		return err
	}
	g.first, g.counted = g.Tally, time.Now()
	for pause := soonestLook; ; {
		progress(g.Tally)
		if g.Asked <= 0 && (g.tooMany() || g.Waiting <= 0) {
			if err := g.recount(ctx); err != nil || g.Asked == 0 && (g.tooMany() || g.Waiting == 0) {
				return err
			}
		}
		asked, err := g.ask(ctx)
		if err != nil {
			return err
		}
		if asked {
			pause = soonestLook
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		moved, took, err := g.look(ctx)
		if err != nil {
			return err
		}
		if pause = min(2*pause, latestLook); moved {
			pause = soonestLook
		}
		pause = max(pause, lookShare*took)
	}
}

func (g *driving) tooMany() bool { return g.Failed-g.first.Failed > g.pace.MaxFailures }

// look notes what became of the letters under way. moved tells that something did.
func (g *driving) look(ctx context.Context) (moved bool, took time.Duration, err error) {
	began := time.Now()
	outcomes, err := g.desk.look(ctx, g.redrive.ID)
	if err != nil {
		return false, 0, err
	}
	before := g.Resolved
	for _, o := range outcomes {
		g.note(o)
	}
	if g.through += g.Resolved - before; g.through >= g.window {
		g.window, g.through = min(2*g.window, mostAsked), 0
	}
	took = time.Since(began)
	if time.Since(g.counted) > recountEvery+g.resting {
		err = g.recount(ctx)
	}
	return len(outcomes) > 0, took, err
}

// recount counts all: what was only added up leaves out what others did to the same redrive.
func (g *driving) recount(ctx context.Context) error {
	began := time.Now()
	t, err := g.desk.count(ctx, g.redrive.ID)
	if err != nil {
		return err
	}
	g.Tally, g.counted, g.resting = t, time.Now(), recountShare*time.Since(began)
	return nil
}

// ask asks for more, if there is room for a good part of what may be under way.
func (g *driving) ask(ctx context.Context) (asked bool, err error) {
	n := min(g.window-g.Asked, g.Waiting)
	if g.tooMany() || n <= 0 || n < g.window/refill && n < g.Waiting {
		return false, nil
	}
	if g.limiter != nil {
		n = min(n, int64(g.limiter.Tokens()))
		if n <= 0 || !g.limiter.AllowN(time.Now(), int(n)) {
			return false, nil
		}
	}
	taken, err := g.desk.ask(ctx, g.redrive, n)
	if err != nil {
		return false, err
	}
	g.Waiting -= taken
	g.Asked += taken
	if taken < n { // somebody else has taken them
		err = g.recount(ctx)
	}
	return true, err
}

// nextLetters takes the next n letters of a redrive. They are chosen once: a subselect may be run for each row, and with
// SKIP LOCKED it would find others each time.
const nextLetters = `WITH next AS MATERIALIZED (
	SELECT n FROM deadletter.redrive_letters WHERE redrive_id = $1 AND outcome IS NULL ORDER BY n LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE deadletter.redrive_letters SET outcome = 'asked' WHERE redrive_id = $1 AND n IN (SELECT n FROM next) RETURNING letter_id`

// ask asks for the next n letters, and returns how many there were.
func (d *Desk) ask(ctx context.Context, r Redrive, n int64) (int64, error) {
	fail := func(err error) (int64, error) { return 0, fmt.Errorf("redrive %s: %w", r.ID, err) }
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	ids, err := column(ctx, tx, nextLetters, r.ID, n)
	if err != nil {
		return fail(err)
	}
	if _, err := d.redrive(ctx, tx, outbox.UUIDArray(ids), r.Reason, map[string]string{"redrive": r.ID}); err != nil {
		return fail(err)
	}
	if err := tx.Commit(); err != nil {
		return fail(err)
	}
	return int64(len(ids)), nil
}
