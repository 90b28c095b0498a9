package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"millrace/event"
)

// BenchmarkUpdate is the time of one update, of one caller and of many, each going round orders of its
// own: alone with the database, and beside another writer. The server does not wait for its disk.
func BenchmarkUpdate(b *testing.B) {
	const ordersPerCaller = 20
	for _, callers := range []int{1, 100} {
		for name, lockUntil := range map[string]time.Time{"optimistic": {}, "locking": time.Unix(math.MaxInt32, 0)} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				slog.SetLogLoggerLevel(slog.LevelWarn) // its lines would cut up the output
				s := NewPostgres(migrated(b), sideless(), Options{})
				s.recent.lockUntil = lockUntil
				start(b, s)
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ReportAllocs()
				b.ResetTimer()
				done := make(chan error, callers)
				for range callers {
					go func() { done <- updateUntil(s, &left, ordersPerCaller) }()
				}
				for range callers {
					if err := <-done; err != nil {
						b.Error(err)
					}
				}
			})
		}
	}
}

func updateUntil(s *Store[basket, None], left *atomic.Int64, orders int) error {
	ids := make([]event.OrderID, orders)
	for i := range ids {
		ids[i] = newOrder()
	}
	for i := 0; left.Add(-1) >= 0; i++ {
		if i == orders*updatesPerOrder {
			return updateUntil(s, left, orders)
		}
		if err := s.Update(fresh(context.Background()), ids[i%orders], count); err != nil {
			return err
		}
	}
	return nil
}

// updatesPerOrder is about what a service does to an order before it is done with it.
const updatesPerOrder = 6
