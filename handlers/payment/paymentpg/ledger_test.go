package paymentpg

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/payment"
	"millrace/handlers/payment/simulator"
)

func request(id event.OrderID, step, method string) payment.Request {
	return payment.Request{OrderID: id, Step: step, PaymentMethod: method, Total: event.Money{Amount: 2500, Currency: "EUR"}}
}

// A ledger outlives the provider that wrote it: kill -9 between any two calls.
func TestTheLedgerOutlivesItsWriter(t *testing.T) {
	db := database(t)
	id := newOrder()
	var got []string
	call := func(do func(*simulator.Provider) (payment.Result, error)) {
		r, err := do(simulator.New(NewLedger(db), simulator.Config{}))
		if err != nil {
			got = append(got, err.Error())
			return
		}
		got = append(got, string(r.Outcome)+" "+r.ProviderRef[:3])
	}
	charge := func(p *simulator.Provider) (payment.Result, error) {
		return p.Charge(t.Context(), request(id, "charge", simulator.Timeout))
	}
	call(func(p *simulator.Provider) (payment.Result, error) {
		return p.Find(t.Context(), request(id, "ask", simulator.Timeout))
	})
	call(charge)
	call(charge)
	call(charge)
	call(func(p *simulator.Provider) (payment.Result, error) {
		return p.Void(t.Context(), request(id, "void", simulator.Timeout))
	})
	refund := func(p *simulator.Provider) (payment.Result, error) {
		return p.Refund(t.Context(), request(id, "refund", simulator.Timeout))
	}
	call(refund)
	call(refund)
	want := []string{
		simulator.ErrNoCharge.Error(), simulator.ErrAnswerLost.Error(), simulator.ErrAnswerLost.Error(),
		"captured ch_", "captured ch_", "refunded re_", "refunded re_",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	var captures, refunded, captured, back int
	var currency string
	scan(t, db, "SELECT captures, refunded, captured_amount, refunded_amount, currency FROM provider.accounts", &captures, &refunded, &captured, &back, &currency)
	if captures != 1 || refunded != 1 || captured != 2500 || back != 2500 || currency != "EUR" {
		t.Errorf("the book says %d captures of %d and %d refunds of %d %s, want one of each, of 2500 EUR", captures, captured, refunded, back, currency)
	}
}

// Two replicas that make the same calls at the same time are one provider.
func TestReplicasShareTheLedger(t *testing.T) {
	db := database(t)
	replicas := []*simulator.Provider{
		simulator.New(NewLedger(db), simulator.Config{}), simulator.New(NewLedger(db), simulator.Config{}),
	}
	const orders = 100
	var calls sync.WaitGroup
	for range orders {
		id := newOrder()
		for _, p := range replicas {
			for _, step := range []string{"charge", "charge", "void"} {
				calls.Go(func() {
					do := p.Charge
					if step == "void" {
						do = p.Void
					}
					if _, err := do(t.Context(), request(id, step, simulator.Accepted)); err != nil {
						t.Errorf("%s: %v", step, err)
					}
				})
			}
		}
	}
	calls.Wait()
	var accounts, twice, untold, deadlocks int
	scan(t, db, `SELECT count(*), count(*) FILTER (WHERE captures > 1),
  count(*) FILTER (WHERE (account->'charges'->(order_id||'/charge')->>'tries')::int <> 4) FROM provider.accounts`, &accounts, &twice, &untold)
	scan(t, db, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()", &deadlocks)
	if accounts != orders || twice != 0 || untold != 0 || deadlocks != 0 {
		t.Errorf("%d accounts, %d captured twice, %d without all four charges, %d deadlocks", accounts, twice, untold, deadlocks)
	}
}

// Calls that come while a batch is being written share the next commit.
func TestConcurrentCallsShareACommit(t *testing.T) {
	db := database(t)
	ledger := NewLedger(db)
	p := simulator.New(ledger, simulator.Config{})
	hold, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = hold.ExecContext(t.Context(), "LOCK TABLE provider.accounts IN SHARE MODE")
	must(t, err)

	const orders = 300
	var calls sync.WaitGroup
	for range orders {
		calls.Go(func() {
			_, err := p.Charge(t.Context(), request(newOrder(), "charge", simulator.Accepted))
			if err != nil {
				t.Error(err)
			}
		})
	}
	// What the first batches took before the table was held up is a matter of luck; the rest waits.
	eventually(t, "the calls to queue up", func() bool { return ledger.group.Waiting() > orders/2 })
	must(t, hold.Rollback())
	calls.Wait()
	var accounts, transactions int
	scan(t, db, "SELECT count(*), count(DISTINCT xmin::text) FROM provider.accounts", &accounts, &transactions)
	if accounts != orders || transactions > orders/4 {
		t.Errorf("%d accounts in %d transactions, want %d in a few", accounts, transactions, orders)
	}
}

// A caller that leaves takes nobody with it.
func TestACallerThatLeaves(t *testing.T) {
	ledger := NewLedger(database(t))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ledger.Update(gone, newOrder(), func(*simulator.Account) {}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left: %v", err)
	}
	_, err := simulator.New(ledger, simulator.Config{}).Charge(t.Context(), request(newOrder(), "charge", simulator.Accepted))
	if err != nil {
		t.Errorf("the next caller: %v", err)
	}
}

func TestAnIDThatIsNoneFailsAlone(t *testing.T) {
	p := simulator.New(NewLedger(database(t)), simulator.Config{})
	_, err := p.Charge(t.Context(), request("42", "charge", simulator.Accepted))
	if !errors.Is(err, event.ErrNotAnOrderID) {
		t.Errorf("%v, want ErrNotAnOrderID", err)
	}
}

// While the database is away nothing is known, and nothing is remembered that
// was not written.
func TestWhatIsNotWrittenDidNotHappen(t *testing.T) {
	db := database(t)
	p := simulator.New(NewLedger(db), simulator.Config{})
	id := newOrder()
	rename := func(from, to string) {
		_, err := db.ExecContext(t.Context(), "ALTER TABLE provider."+from+" RENAME TO "+to)
		must(t, err)
	}
	rename("accounts", "away")
	if r, err := p.Charge(t.Context(), request(id, "charge", simulator.Accepted)); err == nil {
		t.Errorf("charged into nothing: %+v", r)
	}
	rename("away", "accounts")
	if _, err := p.Find(t.Context(), request(id, "ask", simulator.Accepted)); !errors.Is(err, simulator.ErrNoCharge) {
		t.Errorf("find: %v, want ErrNoCharge", err)
	}
	var accounts int
	scan(t, db, "SELECT count(*) FROM provider.accounts", &accounts)
	if accounts != 0 {
		t.Errorf("%d accounts, want none: a look leaves nothing", accounts)
	}
}
