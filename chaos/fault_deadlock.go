package chaos

import (
	"context"
	"fmt"
	"time"
)

const (
	// deadlockTimeout is after which wait of a router Postgres looks for a deadlock: before the router's own lock_timeout
	// would end it.
	deadlockTimeout = "20ms"
	// statisticsPause is how late a session may report what it has counted: Postgres has it do so once a second.
	statisticsPause = 1200 * time.Millisecond
)

// lockCrosswise locks articles from last to first; the routers lock them from first to last. Postgres counts the deadlocks,
// whoever their victims are.
func lockCrosswise(ctx context.Context, i *injection) (heal, error) {
	before, err := i.database.deadlocks(ctx)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
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
	return func(ctx context.Context) (int64, error) {
		end()
		<-done
		sleep(ctx, statisticsPause)
		after, err := i.database.deadlocks(ctx)
		return after - before, err
	}, nil
}

// deadlocks is how many Postgres has found in the database.
func (d *database) deadlocks(ctx context.Context) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, sqlPatience)
	defer cancel()
	if err = d.admin.QueryRowContext(ctx, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").Scan(&n); err != nil {
		return 0, fmt.Errorf("count deadlocks: %w", err)
	}
	return n, nil
}
