package chaos

import (
	"context"
	"time"
)

var onDatabase = []string{onPostgres}

const restoredElsewhere = "restored-elsewhere"

const (
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
	{Name: "deadlocks", What: "a session locks articles crosswise to everybody else", Heals: "it goes away", On: onDatabase,
		Shortest: 4 * time.Second, Longest: 8 * time.Second, inject: lockCrosswise},
	{Name: "rows-held", Injected: true, What: "an idle transaction holds rows of open orders and of an article", Heals: "it ends", On: onDatabase,
		Shortest: 5 * time.Second, Longest: 10 * time.Second,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.hold(ctx, "SELECT 1 FROM orders.orders WHERE status NOT IN ('DELIVERED', 'CANCELLED') ORDER BY order_id LIMIT $1 FOR UPDATE SKIP LOCKED", heldRows)
		}},
	{Name: "order-held", Injected: true, Alone: true, What: "an idle transaction holds the row of one open order: its message stays in hand, and no offset of its partition is noted past it", Heals: "it ends", On: onDatabase,
		Shortest: 6 * time.Second, Longest: 9 * time.Second,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.hold(ctx, "SELECT 1 FROM orders.orders WHERE status IN ('PENDING', 'AWAITING_PAYMENT', 'PAYMENT_PENDING', 'PAID') ORDER BY created_at DESC LIMIT 1 FOR UPDATE SKIP LOCKED")
		}},
	{Name: "article-held", Injected: true, What: "an idle transaction holds an article", Heals: "it ends", On: onDatabase,
		Shortest: 4 * time.Second, Longest: 8 * time.Second,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.hold(ctx, "SELECT 1 FROM inventory.stock WHERE sku = $1 FOR UPDATE", articles[i.random.IntN(len(articles))])
		}},
	{Name: "provider-hangs", Injected: true, What: "the provider takes calls and answers none", Heals: "it goes on", On: onDatabase,
		Shortest: 4 * time.Second, Longest: 12 * time.Second,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.hold(ctx, "LOCK TABLE provider.accounts IN ACCESS EXCLUSIVE MODE")
		}},
	{Name: "idle-transactions", Injected: true, What: "transactions that wrote stay open, in this database and another one, and hold back the horizon", Heals: "they end", On: onDatabase,
		Shortest: 8 * time.Second, Longest: 15 * time.Second, inject: idle},
	{Name: "sessions-terminated", Hides: true, What: "every session of the routers is terminated, again and again", Heals: "no more", On: onDatabase,
		Shortest: 0, Longest: 4 * time.Second, inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.again(ctx, terminatePause, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+role+"'")
		}},
	{Name: "lease-stolen", What: "the relay's lease and the executors' word that they live are taken away, again and again, so that two publish the same rows and make the same calls", Heals: "no more", On: onDatabase,
		Shortest: 4 * time.Second, Longest: 8 * time.Second,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			return i.again(ctx, stealPause, "UPDATE millrace.leases SET until = '-infinity' WHERE until > now()")
		}},
	{Name: "few-connections", Hides: true, What: "the role may have fewer connections than a router wants, and those there are end", Heals: "any number", On: onDatabase,
		Shortest: 3 * time.Second, Longest: 6 * time.Second, inject: fewAreLet},
	{Name: "disk-full", Hides: true, What: "Postgres' disk is full", Heals: "there is room, and Postgres is started again if it has ended", On: onDatabase,
		Shortest: 2 * time.Second, Longest: 5 * time.Second, Unfit: needsSmallDisk, inject: fillDisk},
	{Name: "database-clock", What: "the database's clock jumps, by up to five seconds in either direction", Heals: "it jumps back", On: onDatabase,
		Shortest: 3 * time.Second, Longest: 6 * time.Second, Unfit: needsFakeTime, inject: moveClock},
	{Name: restoredElsewhere, Hides: true, Injected: true, What: "the routers are stopped, and the database is dumped and restored into a new server", Heals: "they are started again", On: everything,
		Shortest: 0, Longest: time.Second, Unfit: needsDump, inject: restoreElsewhere},
}
