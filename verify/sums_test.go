package verify

import (
	"math/big"
	"testing"
)

// What several databases have adds up.
func TestSumsOfDatabasesAddUp(t *testing.T) {
	first, other := newSums(), newSums()
	first.levels[mug] = level{Initial: 1}
	first.backlogs = []backlog{{database: "shop", at: 50}}
	first.backlogs[0].row(20)
	other.provider = true
	other.restocked[mug] = level{Initial: 2}
	other.backlogs = []backlog{{database: "stock", at: 50}}
	other.backlogs[0].row(30)
	other.backlogs[0].row(10)
	for n := range int64(garbledKept + 50) {
		other.backlogs[0].unreadable(n, "cut")
	}
	if err := other.stored.add(sumKey{allTime, sumPlaced, ""}, "123456789012345678901234567890"); err != nil {
		t.Fatal(err)
	}
	if err := other.stored.add(sumKey{allTime, sumPlaced, ""}, "1.5"); err == nil {
		t.Error("1.5 was added")
	}
	all := newSums()
	all.add(first)
	all.add(other)
	if !all.provider || all.levels[mug].Initial != 1 || all.restocked[mug].Initial != 2 || all.unsent() != 3 || len(all.backlogs) != 2 || all.backlogs[1].since != 10 {
		t.Errorf("%+v", all)
	}
	l, f := newWorld().look, newFindings(1000)
	checkOutbox(&l, all, f)
	if found := f.of(i7); found.violations != garbledKept+50 || len(found.examples) != garbledKept || found.examples[1].Records[0] != "outbox row 1: cut" {
		t.Errorf("%d violations, %d of them named", found.violations, len(found.examples))
	}
	if note := checkBacklog(all, 1, f); f.of(i12).violations != 0 || note != "3 events in the outbox, the oldest 0s old" {
		t.Errorf("%d violations, %q", f.of(i12).violations, note)
	}
	want, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	if got := all.stored[sumKey{allTime, sumPlaced, ""}]; got.Cmp(want) != 0 {
		t.Errorf("%s, want %s", got, want)
	}
}
