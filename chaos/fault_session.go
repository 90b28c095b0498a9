package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

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
	n, err := result.RowsAffected()
	if strings.HasPrefix(lock, "LOCK") { // it locks no row, and everything
		n = 1
	}
	return func(context.Context) (int64, error) { return n, gone(tx.Rollback()) }, err
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
