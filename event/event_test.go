package event_test

import (
	"context"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/event"
)

func TestParseOrderIDTakesTheCanonicalFormOnly(t *testing.T) {
	if got, err := event.ParseOrderID(string(id)); err != nil || got != id {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{
		"", "7", string(id[:35]), string(id) + "0", strings.ToUpper(string(id)), strings.ReplaceAll(string(id), "-", ""),
		"urn:uuid:" + string(id), "0199c0de-0000-7000-8000-00000000000g", "0199c0de00000-7000-8000-000000000001", "0199c0de-0000-7000-8000-00000000000é"[:36],
	} {
		if got, err := event.ParseOrderID(bad); !errors.Is(err, event.ErrNotAnOrderID) || got != "" {
			t.Errorf("%q: %q, %v; want ErrNotAnOrderID", bad, got, err)
		}
	}
}

// Total is exact, or says that it cannot be.
func TestTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Int64Range(0, 1000), rapid.Int64Range(0, math.MaxInt64), rapid.SampledFrom([]int64{0, 1, math.MaxInt64}))
		items := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event.Item {
			return event.Item{Quantity: number.Draw(t, "quantity"), UnitPrice: number.Draw(t, "price")}
		}), 0, 5).Draw(t, "items")
		exact := new(big.Int)
		for _, it := range items {
			exact.Add(exact, new(big.Int).Mul(big.NewInt(it.Quantity), big.NewInt(it.UnitPrice)))
		}
		got, err := event.Total(items, "EUR")
		switch {
		case exact.IsInt64() && (err != nil || got.Amount != exact.Int64() || got.Currency != "EUR"):
			t.Fatalf("%v, %v; want %v EUR", got, err, exact)
		case !exact.IsInt64() && !errors.Is(err, event.ErrOverflow):
			t.Fatalf("%v, %v; want ErrOverflow", got, err)
		}
	})
	for _, negative := range []event.Item{{Quantity: -1}, {UnitPrice: -1}} {
		if got, err := event.Total([]event.Item{negative}, "EUR"); err == nil {
			t.Errorf("%+v adds up to %v", negative, got)
		}
	}
}

func TestTheCauseTravelsInTheContext(t *testing.T) {
	if c := event.CauseFrom(context.Background()); c != (event.Cause{}) {
		t.Errorf("a cause out of nowhere: %+v", c)
	}
	want := event.Cause{ID: "1", CorrelationID: "2", TraceParent: "3", Time: time.Unix(4, 0), Command: true}
	if got := event.CauseFrom(event.WithCause(context.Background(), want)); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
