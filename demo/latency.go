package demo

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"sync"
	"time"

	"millrace/event"
)

// maxHistories is from how many orders, evenly chosen, latencies are read: enough for a p99 that
// means something, and some seconds of GETs.
const maxHistories = 2000

// Latency is how long something took, in milliseconds. Percentiles are nearest-rank: times that
// were really seen.
type Latency struct {
	What   string  `json:"what"`
	Orders int     `json:"orders"`
	P50    float64 `json:"p50Ms"`
	P95    float64 `json:"p95Ms"`
	P99    float64 `json:"p99Ms"`
	Max    float64 `json:"maxMs"`
}

func (r *Report) latency(what string, times []time.Duration) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	at := func(share float64) float64 { return ms(times[int(math.Ceil(share*float64(len(times))))-1]) }
	r.Latencies = append(r.Latencies, Latency{What: what, Orders: len(times), P50: at(0.50), P95: at(0.95), P99: at(0.99), Max: at(1)})
}

// latencies reads the orders' histories. Both ends of each time are on the router's clock.
func (r *Report) latencies(ctx context.Context, d *run) {
	var chosen []*order
	step := max(1, float64(r.Placed)/maxHistories)
	next := 0.0
	placed := 0
	for _, o := range d.orders {
		if o.id == "" {
			continue
		}
		if float64(placed) >= next {
			chosen = append(chosen, o)
			next += step
		}
		placed++
	}
	var mu sync.Mutex
	all := map[event.OrderStatus][]time.Duration{}
	var atOnce []time.Duration
	failed := d.each(ctx, chosen, func(o *order) error {
		var history []historyEntry
		if err := d.read(ctx, "/orders/"+string(o.id)+"/events", &history); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if gap := firstGap(history); gap != 0 {
			r.problem("order %s: its history has no version %d", o.id, gap)
		}
		for status, took := range entered(history) {
			all[status] = append(all[status], took)
			if status == event.OrderPaid && o.scenario.method == pmAccepted {
				atOnce = append(atOnce, took)
			}
		}
		return nil
	})
	if failed != nil {
		r.problem("the latencies cannot be read: %v", failed)
		return
	}
	r.latency("accepted to stock reserved", all[event.OrderAwaiting])
	r.latency("accepted to PAID, provider at once", atOnce)
	r.latency("accepted to PAID, all", all[event.OrderPaid])
	r.latency("accepted to DELIVERED", all[event.OrderDelivered])
	r.latency("accepted to CANCELLED", all[event.OrderIsCancelled])
}

// firstGap is the first version a history lacks; 0 if it lacks none.
func firstGap(history []historyEntry) int64 {
	for i, e := range history {
		if e.Version != int64(i+1) {
			return int64(i + 1)
		}
	}
	if len(history) == 0 {
		return 1
	}
	return 0
}

// entered is how long after it was accepted the order first entered each status.
func entered(history []historyEntry) map[event.OrderStatus]time.Duration {
	times := map[event.OrderStatus]time.Duration{}
	for _, e := range history {
		var data factBody
		if e.Type != "StatusChanged" || json.Unmarshal(e.Data, &data) != nil {
			continue
		}
		status := event.OrderStatus(data.Status)
		if _, known := times[status]; !known {
			times[status] = e.OccurredAt.Sub(history[0].OccurredAt)
		}
	}
	return times
}

// factBody is what the history's facts have to say that is worth a line.
type factBody struct {
	Status  string      `json:"status"`
	Reason  string      `json:"reason"`
	Cause   string      `json:"cause"`
	Message string      `json:"message"`
	Total   event.Money `json:"total"`
}
