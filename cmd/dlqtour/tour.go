package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// tour is the walk, and what it meets.
type tour struct {
	*guide
	*system
	orders []*order
	group  string // the fingerprint of the failures
}

// The rule that breaks shipping: the row of a parcel to Great Britain cannot be written. An empty row
// passes it, as one with only a park mark has to.
const (
	breakIt = `ALTER TABLE shipping.shipments ADD CONSTRAINT no_parcels_to_gb
    CHECK (state->'address'->>'country' IS DISTINCT FROM 'GB') NOT VALID`
	// Whoever has tried out commands may have mended it.
	mendIt = `ALTER TABLE shipping.shipments DROP CONSTRAINT IF EXISTS no_parcels_to_gb`
)

func (t *tour) walk(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{t.ownSystem, t.badRelease, t.whatTheOperatorSees, t.wouldItWork, t.redrive, t.whatCameOfIt} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	t.say(`That was all. The tour's system is stopped and removed now. Every command, and
what it promises: docs/dead-letters.md.`)
	return nil
}

func (t *tour) ownSystem(ctx context.Context) error {
	if err := t.begin(ctx, "A system of its own"); err != nil {
		return err
	}
	t.say(`A router with an embedded broker and a private Postgres, on free ports and in a
directory that is removed at the end. Whatever else runs here is left alone.`)
	t.does("$", "DATA_DIR="+t.dataDir()+" router serve")
	began := time.Now()
	if err := t.start(ctx); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "ready after %s: %s\n", time.Since(began).Round(100*time.Millisecond), t.at.HTTP)
	if t.enter != nil {
		t.say(`For commands of your own, in another terminal:

  export DATA_DIR=%s
  bin/router dlq groups`, t.dataDir())
	}
	return nil
}

func (t *tour) badRelease(ctx context.Context) error {
	if err := t.begin(ctx, "A bad release"); err != nil {
		return err
	}
	t.say(`Somebody adds a rule to shipping's table. Shipping's code knows nothing of it.`)
	if err := t.execute(ctx, breakIt); err != nil {
		return err
	}
	t.say(`Four orders come in. Ada and Grace live in Great Britain.`)
	t.orders = []*order{{customer: "ada", country: "GB"}, {customer: "emmy", country: "DE"}, {customer: "grace", country: "GB", postalCode: "SHIP-SLOW"}, {customer: "henri", country: "FR"}}
	for _, o := range t.orders {
		if err := t.place(ctx, o); err != nil {
			return err
		}
	}
	if err := t.awaitStatuses(ctx, "PAID", "DELIVERED", "PAID", "DELIVERED"); err != nil {
		return err
	}
	if err := t.awaitLetters(ctx, 2, 0); err != nil {
		return err
	}
	t.say(`The other two have their parcels. Ada and Grace have paid, but shipping could
not write down what it was asked for: both messages became dead letters.`)
	t.printOrders()
	t.say(`Grace does not want to wait, and cancels.`)
	if err := t.cancel(ctx, t.orders[2]); err != nil {
		return err
	}
	if err := t.awaitLetters(ctx, 2, 1); err != nil {
		return err
	}
	t.say(`Payment gives the money back at once. At shipping, her cancellation comes after
a message that is not processed yet: it is parked behind that letter, so that
it does not overtake.`)
	return nil
}

func (t *tour) whatTheOperatorSees(ctx context.Context) error {
	if err := t.begin(ctx, "What the operator sees"); err != nil {
		return err
	}
	t.say(`The health check says that something waits. It stays green: all other orders
go on.`)
	if err := t.showHealth(ctx); err != nil {
		return err
	}
	t.say(`Failures of one kind are one group, whatever the ids in their texts.`)
	if err := t.shown(ctx, "dlq", "groups"); err != nil {
		return err
	}
	if err := t.shown(ctx, "dlq", "list", "service:shipping", "status:new"); err != nil {
		return err
	}
	if err := t.wait(ctx); err != nil {
		return err
	}
	t.say(`One letter, whole. The verdict is what would happen if it were redriven now.`)
	return t.shown(ctx, "dlq", "show", t.orders[2].letter)
}

func (t *tour) wouldItWork(ctx context.Context) error {
	if err := t.begin(ctx, "Would a redrive work?"); err != nil {
		return err
	}
	t.say(`A dry run really runs the reaction, on the row as it is, in a transaction that
is rolled back. The rule is still there:`)
	if err := t.shown(ctx, "dlq", "redrive", "--group", t.group, "--dry-run"); err != nil {
		return err
	}
	if err := t.wait(ctx); err != nil {
		return err
	}
	t.say(`So it is mended first.`)
	if err := t.execute(ctx, mendIt); err != nil {
		return err
	}
	return t.shown(ctx, "dlq", "redrive", "--group", t.group, "--dry-run")
}

func (t *tour) redrive(ctx context.Context) error {
	if err := t.begin(ctx, "The redrive"); err != nil {
		return err
	}
	t.say(`The letters go to shipping alone; payment and the others do not hear anything
twice. One letter goes first. When it is through, the others follow, and behind
each of them what is parked there, in order.`)
	err := t.shown(ctx, "dlq", "redrive", "--group", t.group, "--reason", "the rule is gone", "--yes")
	if t.enter != nil && errors.As(err, new(*exec.ExitError)) { // somebody may have decided about them meanwhile; what came of it is told next
		return nil
	}
	return err
}

func (t *tour) whatCameOfIt(ctx context.Context) error {
	if err := t.begin(ctx, "What came of it"); err != nil {
		return err
	}
	if other, err := t.decided(ctx); err != nil || other {
		return err
	}
	if err := t.awaitStatuses(ctx, "DELIVERED", "DELIVERED", "CANCELLED", "DELIVERED"); err != nil {
		return err
	}
	if err := t.awaitLetters(ctx, 0, 0); err != nil {
		return err
	}
	t.say(`Ada has her parcel. Grace's order is cancelled:`)
	t.printOrders()
	t.say(`Her parcel was prepared first and then stopped, as it was asked (or called
back, if it left in between):`)
	history, err := t.history(ctx, t.orders[2])
	if err != nil {
		return err
	}
	if history != "PREPARING STOPPED" && history != "PREPARING SHIPPED RETURNED" {
		return fmt.Errorf("shipping's history of order %s is %q: its messages were not processed in order", t.orders[2].id, history)
	}
	if err := t.wait(ctx); err != nil {
		return err
	}
	t.say(`And the letter's own story:`)
	if err := t.shown(ctx, "dlq", "show", t.orders[2].letter); err != nil {
		return err
	}
	t.say(`Nothing waits any more.`)
	return t.shown(ctx, "dlq", "list", "status:new")
}

// decided tells whether somebody has decided about a letter otherwise than the tour does, and shows what that led to.
func (t *tour) decided(ctx context.Context) (other bool, err error) {
	var letters []string
	for _, o := range t.orders {
		if o.letter == "" {
			continue
		}
		var actions string
		if err := t.db.QueryRowContext(ctx, `SELECT coalesce(string_agg(action, ', then ' ORDER BY id), '') FROM deadletter.steps
WHERE left(letter_id::text, 8) = $1 AND action IN ('dropped', 'restored', 'edited')`, o.letter).Scan(&actions); err != nil {
			return false, fmt.Errorf("look what was done to letter %s: %w", o.letter, err)
		}
		if actions != "" {
			letters = append(letters, o.letter)
			t.say("You have decided yourself: the letter about %s's order was %s.", o.customer, actions)
		}
	}
	if len(letters) == 0 {
		return false, nil
	}
	t.say(`So the tour ends otherwise than it would have. This is how the orders are now,
and what became of the letters:`)
	if err := t.lookAtStatuses(ctx); err != nil {
		return true, err
	}
	t.printOrders()
	for _, id := range letters {
		if err := t.shown(ctx, "dlq", "show", id); err != nil {
			return true, err
		}
	}
	return true, t.shown(ctx, "dlq", "list", "--all")
}

// execute runs a statement, as shipping's owner would with psql.
func (t *tour) execute(ctx context.Context, statement string) error {
	t.does("SQL>", statement+";")
	if _, err := t.db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// shown prints a command of the router and runs it.
func (t *tour) shown(ctx context.Context, args ...string) error {
	t.does("$", "router "+typed(args))
	return t.command(ctx, t.out, args...)
}

// showHealth prints what the readiness check says of shipping's letters.
func (t *tour) showHealth(ctx context.Context) error {
	const about = "letters of shipping: "
	t.does("$", "curl -s '"+t.at.Admin+"/readyz?verbose' | grep '"+about+"'")
	var line string
	// It is at most a second behind.
	err := await(ctx, patience, "the health check tells of the letters", func(ctx context.Context) (bool, error) {
		status, answer, err := t.call(ctx, http.MethodGet, t.at.Admin+"/readyz?verbose", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("the router is not ready: %s", answer)
		}
		for l := range strings.Lines(answer) {
			if strings.Contains(l, about) {
				line = strings.TrimSpace(l)
			}
		}
		return line != "" && (!strings.HasSuffix(line, about+"none") || t.enter != nil && !t.waits(ctx)), err
	})
	fmt.Fprintln(t.out, line)
	return err
}

// waits tells whether letters wait. Somebody may have decided about all of them.
func (t *tour) waits(ctx context.Context) bool {
	var n int
	err := t.db.QueryRowContext(ctx, "SELECT count(*) FROM deadletter.letters WHERE status IN ('new', 'retrying', 'redriving')").Scan(&n)
	return err != nil || n > 0
}

// awaitLetters waits until that many letters and parked messages are there, and learns their names.
func (t *tour) awaitLetters(ctx context.Context, letters, parked int) error {
	what := fmt.Sprintf("%d letters and %d parked messages are there", letters, parked)
	err := await(ctx, patience, what, func(ctx context.Context) (bool, error) {
		var l, p int
		err := t.db.QueryRowContext(ctx, "SELECT count(*) FILTER (WHERE status IN ('new', 'redriving')), count(*) FILTER (WHERE status = 'parked') FROM deadletter.letters").Scan(&l, &p)
		return l == letters && p == parked, err
	})
	if err != nil || letters == 0 {
		return err
	}
	for _, o := range t.orders {
		if o.country != "GB" {
			continue
		}
		if err := t.db.QueryRowContext(ctx, "SELECT left(id::text, 8), fingerprint FROM deadletter.letters WHERE order_id = $1 AND status = 'new'", o.id).Scan(&o.letter, &t.group); err != nil {
			return fmt.Errorf("look for the letter about order %s: %w", o.id, err)
		}
	}
	return nil
}
