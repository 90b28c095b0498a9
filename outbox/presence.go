package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// presence tells other executors of a service that this one lives, and finds out which
// of them have died: what those had claimed is due again at once, instead of when the
// claim's own, much longer, lease ends.
//
// An executor that was only paused is taken for dead as well. Then two make the same
// call, with one idempotency key.
type presence struct {
	service string
	holder  string
	stmts   *statements
	ttl     time.Duration
}

func newPresence(service string, stmts *statements) presence {
	return presence{service: service, holder: uuid.NewString(), stmts: stmts, ttl: leaseTTL}
}

// name is the executor's row in millrace.leases.
func (p presence) name() string { return p.prefix() + p.holder }

func (p presence) prefix() string { return "effects/" + p.service + "/" }

const (
	beatPresence = `INSERT INTO millrace.leases AS l (name, holder, until)
VALUES ($1, $2::uuid, now() + $3::bigint * interval '1 millisecond')
ON CONFLICT (name) DO UPDATE SET until = excluded.until`

	// The row is left for the next executor of the service, as one that died: what could not be
	// put off is freed with it.
	endPresence = `UPDATE millrace.leases SET until = '-infinity' WHERE name = $1`

	// What was claimed ahead of its time is due when it would have been.
	// Waits that a store transaction has locked are left to it: it ends them, or their own lease does.
	freeClaims = `WITH dead AS (
	DELETE FROM millrace.leases WHERE starts_with(name, $2) AND until < now() RETURNING holder),
orphans AS (
	SELECT order_id, step FROM millrace.waits
	WHERE service = $1 AND due_at > now() AND holder IN (SELECT holder FROM dead) FOR UPDATE SKIP LOCKED)
UPDATE millrace.waits w SET due_at = greatest(now(), w.since) FROM orphans o
WHERE w.service = $1 AND w.order_id = o.order_id AND w.step = o.step`
)

// beat says that this executor lives, and frees what the dead had claimed.
func (p presence) beat(ctx context.Context) (freed int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.ttl)
	defer cancel()
	if _, err := p.stmts.exec(ctx, beatPresence, p.name(), p.holder, p.ttl.Milliseconds()); err != nil {
		return 0, fmt.Errorf("tell that the effects of %s are performed here: %w", p.service, err)
	}
	if freed, err = p.stmts.exec(ctx, freeClaims, p.service, p.prefix()); err != nil {
		return 0, fmt.Errorf("look for effects of %s whose process died: %w", p.service, err)
	}
	return freed, nil
}

// end says that this executor is gone: its calls have ended, and what is left unanswered has been put off if
// the database let it.
func (p presence) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.ttl)
	defer cancel()
	_, err := p.stmts.exec(ctx, endPresence, p.name())
	return err
}

// stayPresent beats until ctx ends.
func (e *Executor[S]) stayPresent(ctx context.Context) {
	look := trouble{log: e.log, what: "the executor's presence"}
	for ctx.Err() == nil {
		freed, err := e.presence.beat(ctx)
		look.note(ctx, err)
		if freed > 0 {
			e.log.WarnContext(ctx, "a process that performed effects is gone, and left some without an answer; they are performed here", "effects", freed)
			signal(e.wake)
		}
		pause(ctx, e.presence.ttl/leaseRenewals, nil)
	}
}
