package groupcommit_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/groupcommit"
)

// What comes while a batch is being written shares the next one; a call alone does not wait.
func TestCallsShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches [][]int
		hold := make(chan struct{})
		g := groupcommit.New(10, time.Minute, func(_ context.Context, batch []int) error {
			batches = append(batches, slices.Clone(batch))
			<-hold
			return nil
		})
		var calls sync.WaitGroup
		do := func(n int) {
			calls.Go(func() {
				if err := g.Do(t.Context(), n); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		for n := range 13 {
			do(n)
		}
		close(hold)
		calls.Wait()
		if len(batches) != 3 || len(batches[0]) != 1 || len(batches[1]) != 10 || len(batches[2]) != 2 {
			t.Errorf("batches %v; want the first call alone, then ten, then the rest", batches)
		}
	})
}

// A batch that fails is everybody's failure; one that takes too long is one that fails.
func TestABatchThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		g := groupcommit.New(10, time.Second, func(ctx context.Context, batch []int) error {
			if batch[0] == 1 {
				return boom
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if err := g.Do(t.Context(), 1); !errors.Is(err, boom) {
			t.Errorf("%v, want boom", err)
		}
		if err := g.Do(t.Context(), 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want a time-out", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Do(gone, 3); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want that the caller has left", err)
		}
		synctest.Wait()
		// The batch nobody waits for comes to its end all the same, and the next one is written.
		if err := g.Do(t.Context(), 1); !errors.Is(err, boom) {
			t.Errorf("%v, want boom", err)
		}
	})
}
