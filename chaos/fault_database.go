package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

var onDatabase = []string{onPostgres}

const (
	// someStatements fail where the database itself refuses them: more than one in ten, and each batch has one.
	someStatements = "0.15"
	// fewConnections are less than one router wants.
	fewConnections = 6
	// heldRows are locked by somebody who does nothing with them.
	heldRows = 20
	// sqlPatience bounds what a fault asks of the database.
	sqlPatience = 15 * time.Second
	// lockPause is between two rows that are locked crosswise: long enough for a router to come in between.
	lockPause = 50 * time.Millisecond
	// stealPause is between two thefts of a lease: a third of its time, in which it would be renewed.
	stealPause = time.Second
	// terminatePause is between two looks for sessions to end: a reconnect and a few statements.
	terminatePause = 300 * time.Millisecond
)

var databaseFaults = []Fault{
	refusals("serialization-failures", "some row changes fail with 40001, which the transaction does not survive", "40001", "orders.orders", "payments.payments", "inventory.reservations"),
	refusals("deadlock-errors", "some row changes fail with 40P01, as the victim of a deadlock does", "40P01", "orders.orders", "shipping.shipments", "notification.orders"),
	refusals("out-of-memory", "some row changes fail with 53200, as where a resource is short", "53200", "orders.orders", "inventory.reservations", "millrace.outbox"),
	refusals("provider-errors", "the provider answers some calls with an error", "XX000", "provider.accounts"),
	{Name: "deadlocks", What: "a session locks articles crosswise to everybody else", Heals: "it goes away", On: onDatabase,
		Shortest: 4 * time.Second, Longest: 8 * time.Second, inject: lockCrosswise},
	{Name: "rows-held", What: "an idle transaction holds rows of open orders and of an article", Heals: "it ends", On: onDatabase,
		Shortest: 5 * time.Second, Longest: 10 * time.Second,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.hold(ctx, "SELECT 1 FROM orders.orders WHERE status NOT IN ('DELIVERED', 'CANCELLED') ORDER BY order_id LIMIT $1 FOR UPDATE SKIP LOCKED", heldRows)
		}},
	{Name: "article-held", What: "an idle transaction holds an article", Heals: "it ends", On: onDatabase,
		Shortest: 4 * time.Second, Longest: 8 * time.Second,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.hold(ctx, "SELECT 1 FROM inventory.stock WHERE sku = $1 FOR UPDATE", articles[i.random.IntN(len(articles))])
		}},
	{Name: "provider-hangs", What: "the provider takes calls and answers none", Heals: "it goes on", On: onDatabase,
		Shortest: 4 * time.Second, Longest: 12 * time.Second,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.hold(ctx, "LOCK TABLE provider.accounts IN ACCESS EXCLUSIVE MODE")
		}},
	{Name: "idle-transactions", What: "transactions that wrote stay open, in this database and another one, and hold back the horizon", Heals: "they end", On: onDatabase,
		Shortest: 8 * time.Second, Longest: 15 * time.Second, inject: idle},
	{Name: "sessions-terminated", What: "every session of the routers is terminated, again and again", Heals: "no more", On: onDatabase,
		Shortest: 0, Longest: 4 * time.Second, inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.again(ctx, terminatePause, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+role+"'")
		}},
	{Name: "lease-stolen", What: "the relay's lease is given to another router, again and again, so that two publish the same rows", Heals: "no more", On: onDatabase,
		Shortest: 4 * time.Second, Longest: 8 * time.Second,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.again(ctx, stealPause, "UPDATE millrace.leases SET until = '-infinity' WHERE until > now()")
		}},
	{Name: "few-connections", What: "the role may have fewer connections than a router wants, and those there are end", Heals: "any number", On: onDatabase,
		Shortest: 3 * time.Second, Longest: 6 * time.Second, inject: fewAreLet},
	{Name: "disk-full", What: "Postgres' disk is full", Heals: "there is room, and Postgres is started again if it has ended", On: onDatabase,
		Shortest: 2 * time.Second, Longest: 5 * time.Second, Unfit: needsSmallDisk, inject: fillDisk},
	{Name: "database-clock", What: "the database's clock jumps, by up to five seconds in either direction", Heals: "it jumps back", On: onDatabase,
		Shortest: 3 * time.Second, Longest: 6 * time.Second, Unfit: needsFakeTime, inject: moveClock},
	{Name: "restored-elsewhere", What: "the routers are stopped, and the database is dumped and restored into a new server", Heals: "they are started again", On: everything,
		Shortest: 0, Longest: time.Second, Unfit: needsDump, inject: restoreElsewhere},
}

// refusals are errors of the database's own making: triggers raise them. A sequence counts, since it is not rolled back.
func refusals(name, what, state string, tables ...string) Fault {
	return Fault{Name: name, What: what, Heals: "no more errors", On: onDatabase, Shortest: shortestTrouble, Longest: longestTrouble,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			ctx, cancel := context.WithTimeout(ctx, sqlPatience)
			defer cancel()
			_, err := i.database.admin.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS chaos; GRANT USAGE ON SCHEMA chaos TO `+role+`;
CREATE SEQUENCE IF NOT EXISTS chaos.refusals;
CREATE OR REPLACE FUNCTION chaos.refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	IF random() < TG_ARGV[0]::float THEN
		PERFORM nextval('chaos.refusals');
		RAISE EXCEPTION 'refused on purpose' USING ERRCODE = TG_ARGV[1];
	END IF;
	RETURN NEW;
END $$`)
			for _, table := range tables {
				if err == nil {
					_, err = i.database.admin.ExecContext(ctx, fmt.Sprintf(
						"CREATE TRIGGER chaos BEFORE INSERT OR UPDATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION chaos.refuse('%s', '%s')", table, someStatements, state))
				}
			}
			before, counted := i.refused(ctx)
			return func(ctx context.Context) (int64, error) {
				ctx, cancel := context.WithTimeout(ctx, sqlPatience)
				defer cancel()
				after, err := i.refused(ctx)
				for _, table := range tables {
					_, dropped := i.database.admin.ExecContext(ctx, "DROP TRIGGER IF EXISTS chaos ON "+table)
					err = errors.Join(err, dropped)
				}
				return after - before, err
			}, errors.Join(err, counted)
		}}
}

func (i *injection) refused(ctx context.Context) (n int64, err error) {
	err = i.database.admin.QueryRowContext(ctx, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM chaos.refusals").Scan(&n)
	return n, err
}

// hold opens a transaction that locks something, and does nothing more until it is healed.
func (i *injection) hold(ctx context.Context, lock string, args ...any) (heal, error) {
	// The transaction's own context: it must outlive this call, and end with the run.
	tx, err := i.database.admin.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	result, err := tx.ExecContext(ctx, lock, args...)
	if err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	n, _ := result.RowsAffected() // LOCK TABLE has none
	return func(context.Context) (int64, error) { return max(n, 1), gone(tx.Rollback()) }, nil
}

// gone is the end of a transaction, which may have ended by itself.
func gone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// again runs a statement over and over.
func (i *injection) again(ctx context.Context, pause time.Duration, statement string) (heal, error) {
	ctx, end := context.WithCancel(ctx)
	done, hits := make(chan struct{}), int64(0)
	go func() {
		defer close(done)
		for {
			if result, err := i.database.admin.ExecContext(ctx, statement); err == nil {
				n, _ := result.RowsAffected()
				hits += n
			}
			if !sleep(ctx, pause) {
				return
			}
		}
	}()
	return func(context.Context) (int64, error) {
		end()
		<-done
		return hits, nil
	}, nil
}

// lockCrosswise locks articles from last to first; the routers lock them from first to last.
func lockCrosswise(ctx context.Context, i *injection) (heal, error) {
	ctx, end := context.WithCancel(ctx)
	done, hits := make(chan struct{}), int64(0)
	try := func() error {
		tx, err := i.database.admin.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		for _, at := range []string{"max(sku)", "min(sku)"} {
			if _, err := tx.ExecContext(ctx, "SELECT 1 FROM inventory.stock WHERE sku = (SELECT "+at+" FROM inventory.stock WHERE sku = ANY($1)) FOR UPDATE", articleArray); err != nil {
				return err
			}
			hits++
			sleep(ctx, lockPause)
		}
		return nil
	}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = try() // to be the victim is one of two ways that it ends
		}
	}()
	return func(context.Context) (int64, error) {
		end()
		<-done
		return hits, nil
	}, nil
}

// articleArray are the articles, as Postgres writes an array.
const articleArray = "{MUG-RED,MUG-BLUE,PLATE-SMALL,PLATE-LARGE,BOWL-OAK,TEAPOT-IRON,KETTLE-STEEL,APRON-LINEN}"

func idle(ctx context.Context, i *injection) (heal, error) {
	here, err := i.hold(ctx, "SELECT pg_current_xact_id()")
	if err != nil {
		return nil, err
	}
	u := i.database.address()
	u.Path = "/postgres"
	elsewhere, err := sql.Open("postgres", u.String())
	if err != nil {
		return nil, err
	}
	tx, err := elsewhere.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err == nil {
		_, err = tx.ExecContext(ctx, "SELECT pg_current_xact_id()")
	}
	if err != nil {
		return nil, errors.Join(err, elsewhere.Close())
	}
	return func(ctx context.Context) (int64, error) {
		hits, err := here(ctx)
		return hits + 1, errors.Join(err, gone(tx.Rollback()), elsewhere.Close())
	}, nil
}

func fewAreLet(ctx context.Context, i *injection) (heal, error) {
	limit := func(ctx context.Context, n int) error {
		ctx, cancel := context.WithTimeout(ctx, sqlPatience)
		defer cancel()
		_, err := i.database.admin.ExecContext(ctx, fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", role, n))
		return err
	}
	if err := limit(ctx, fewConnections); err != nil {
		return nil, err
	}
	result, err := i.database.admin.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
	if err != nil {
		return nil, err
	}
	hits, err := result.RowsAffected()
	return func(ctx context.Context) (int64, error) { return hits, limit(ctx, -1) }, err
}
