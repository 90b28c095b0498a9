package load

import (
	"context"
	"time"
)

// Closed has clients place one order after the other, each waiting for its answer, while fewer than
// inFlight orders are placed and not final. So the intake cannot run away from the rest of the system.
func (s Shop) Closed(ctx context.Context, clients, inFlight int) *Run {
	r, ctx := newRun(ctx, s)
	r.slots = make(chan struct{}, inFlight)
	r.looking.Go(func() { r.keepLooking(ctx) })
	urls := append([]string{s.URL}, s.Others...)
	for i := range clients {
		r.placing.Go(func() {
			c := newClient(urls[i%len(urls)])
			defer c.close()
			for {
				select {
				case <-ctx.Done():
					return
				case <-r.stop:
					return
				case r.slots <- struct{}{}:
				}
				if !r.place(ctx, c, time.Now()) {
					return
				}
			}
		})
	}
	return r
}
