package verify

import (
	"fmt"
	"maps"
	"math"
	"math/big"
)

// sums are what was read, or added up, over all orders. They are as many as there are articles,
// currencies and minutes, so they fit into memory.
type sums struct {
	// provider: the simulated provider's book was found.
	provider bool
	// worked is when the first of each service's rows that show a processed message was made; 0: there is none.
	worked [services]int64
	// missing are events that a service's rows count, and that are nowhere, but may have been removed from the log; unknown are
	// those that they have processed.
	missing, unknown [services]int64
	// levels are the articles' stock, restocked what it was after the last restock in the ledger.
	levels, restocked map[string]level
	// held and sold are the pieces that reservations say, by article.
	held, gone map[string]int64
	// stored are analytics' sums as they are kept, folded and not; contributed what its rows add up to.
	stored, contributed tally
	// money is by currency.
	money map[string]*moneySum
	// backlogs are the databases' outboxes.
	backlogs []backlog
}

// level is an article's stock.
type level struct{ Initial, Restocked, Available, Reserved, Sold int64 }

// moneySum is what became of the money of one currency.
type moneySum struct {
	// Captured and Refunded are what the provider's book says.
	Captured, Refunded int64
	// Kept is what the payments at rest say, UnderWay what the book says of the others.
	Kept, UnderWay int64
}

func newSums() *sums {
	return &sums{
		levels: map[string]level{}, restocked: map[string]level{}, held: map[string]int64{}, gone: map[string]int64{},
		stored: tally{}, contributed: tally{}, money: map[string]*moneySum{},
	}
}

func (s *sums) in(currency string) *moneySum {
	if s.money[currency] == nil {
		s.money[currency] = &moneySum{}
	}
	return s.money[currency]
}

// worksSince notes a row that was made then, and shows that its service has processed something.
func (s *sums) worksSince(of service, at int64) {
	if s.worked[of] == 0 || at < s.worked[of] {
		s.worked[of] = at
	}
}

// unsent is how many rows all outboxes have.
func (s *sums) unsent() (n int64) {
	for i := range s.backlogs {
		n += s.backlogs[i].rows
	}
	return n
}

// add takes what another database had. No two have the same article or sum.
func (s *sums) add(other *sums) {
	s.provider = s.provider || other.provider
	for of, at := range other.worked {
		if at != 0 {
			s.worksSince(service(of), at)
		}
	}
	maps.Copy(s.levels, other.levels)
	maps.Copy(s.restocked, other.restocked)
	maps.Copy(s.stored, other.stored)
	s.backlogs = append(s.backlogs, other.backlogs...)
}

// sumKey names one of analytics' sums.
type sumKey struct {
	Minute    int64 // its start, in seconds since 1970; or allTime
	Name, Key string
}

// allTime is in place of a minute for a sum of all times.
const allTime = int64(math.MinInt64)

// tally is a number for each key. They have no bounds: many orders of the largest amount fit.
type tally map[sumKey]*big.Int

func (t tally) of(key sumKey) *big.Int {
	if t[key] == nil {
		t[key] = new(big.Int)
	}
	return t[key]
}

// add adds a number as Postgres writes it.
func (t tally) add(key sumKey, text string) error {
	const decimal = 10
	n, ok := new(big.Int).SetString(text, decimal)
	if !ok {
		return fmt.Errorf("%q of %q is %q, which is no whole number", key.Key, key.Name, text)
	}
	sum := t.of(key)
	sum.Add(sum, n)
	return nil
}

func (t tally) plus(key sumKey, n int64) {
	sum := t.of(key)
	sum.Add(sum, big.NewInt(n))
}
