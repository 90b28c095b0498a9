package analytics_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/analytics"
)

type sumKey struct {
	minute    time.Time
	name, key string
}

// orders keeps rows as JSON, with the causes processed, and adds up what changes
// make of a difference, as the store does.
type orders struct {
	rows      map[event.OrderID][]byte
	processed map[string]bool
	sums      map[sumKey]*big.Int
	updates   int
}

func newOrders() *orders {
	return &orders{rows: map[event.OrderID][]byte{}, processed: map[string]bool{}, sums: map[sumKey]*big.Int{}}
}

func (s *orders) Update(ctx context.Context, id event.OrderID, change func(*analytics.Order) ([]event.Event, error)) error {
	s.updates++
	cause := string(id) + event.CauseFrom(ctx).ID
	if s.processed[cause] {
		return nil
	}
	row := analytics.Order{ID: id}
	if data, ok := s.rows[id]; ok {
		if err := json.Unmarshal(data, &row); err != nil {
			return err
		}
	}
	before := row.Contribution()
	said, err := change(&row)
	if err != nil {
		return err
	}
	if len(said) > 0 {
		return errors.New("analytics says nothing")
	}
	s.add(before, -1)
	s.add(row.Contribution(), 1)
	if s.rows[id], err = json.Marshal(row); err != nil {
		return err
	}
	s.processed[cause] = true
	return nil
}

func (s *orders) add(sums []analytics.Sum, sign int64) {
	for _, sum := range sums {
		k := sumKey{sum.Minute, sum.Name, sum.Key}
		if s.sums[k] == nil {
			s.sums[k] = new(big.Int)
		}
		s.sums[k].Add(s.sums[k], new(big.Int).Mul(big.NewInt(sign), big.NewInt(sum.N)))
	}
}

func (s *orders) totals() (totals []analytics.Total) {
	for k, n := range s.sums {
		if n.Sign() != 0 {
			totals = append(totals, analytics.Total{Minute: k.minute, Name: k.name, Key: k.key, N: n})
		}
	}
	slices.SortFunc(totals, func(a, b analytics.Total) int {
		return strings.Compare(fmt.Sprint(a.Minute.Unix(), a.Name, a.Key), fmt.Sprint(b.Minute.Unix(), b.Name, b.Key))
	})
	return totals
}

func (s *orders) summary(t testing.TB) analytics.Summary {
	t.Helper()
	summary, err := analytics.Summarize(s.totals(), start)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

var bigNumbers = cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })

// told is an event, and when it happened.
type told struct {
	at    time.Duration // after start
	event event.Event
}

func count(t testing.TB, s *orders, story ...told) {
	t.Helper()
	service, err := analytics.New(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range story {
		ctx := event.WithCause(context.Background(), event.Cause{ID: fmt.Sprint(w), Time: start.Add(w.at)})
		if err := service.Count(ctx, w.event); err != nil {
			t.Fatalf("%T: %v", w.event, err)
		}
	}
}
