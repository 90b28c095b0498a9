package scenario

import (
	"context"
	"os"
	"runtime/metrics"
	"slices"
	"time"

	"millrace/bench"
	"millrace/bench/rig"
)

// watched is the memory of this process, in MiB, from the first message on.
type watched struct{ rss []float64 }

const (
	// memoryEvery is how often it is looked at.
	memoryEvery = 200 * time.Millisecond
	// liveHeap is what the last garbage collection left.
	liveHeap = "/gc/heap/live:bytes"
	mib      = 1 << 20
)

// watch samples memory and pace until ctx ends.
func (w *watched) watch(ctx context.Context, env *bench.Env, handled *meter) error {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	var last int64
	for before := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		begun, now, count := handled.begun.Load(), time.Now(), handled.count.Load()
		if begun == 0 {
			before = now
			continue
		}
		m, err := rig.MemoryOf(os.Getpid())
		if err != nil {
			return err
		}
		heap := []metrics.Sample{{Name: liveHeap}}
		metrics.Read(heap)
		w.rss = append(w.rss, m.RSS)
		env.Sample("seconds", now.Sub(time.Unix(0, begun)).Seconds())
		env.Sample("rss_mib", m.RSS)
		env.Sample("heap_mib", float64(heap[0].Value.Uint64())/mib)
		env.Sample("messages_per_second", float64(count-last)/now.Sub(before).Seconds())
		before, last = now, count
	}
}

// growth is how much more memory the last third of the time took than the first, at the most.
func (w *watched) growth() float64 {
	third := len(w.rss) / 3
	if third == 0 {
		return 0
	}
	return slices.Max(w.rss[len(w.rss)-third:]) - slices.Max(w.rss[:third])
}

// most is the most it took.
func (w *watched) most() float64 {
	if len(w.rss) == 0 {
		return 0
	}
	return slices.Max(w.rss)
}
