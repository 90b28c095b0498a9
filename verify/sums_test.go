package verify

import (
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What several databases have adds up.
func TestSumsOfDatabasesAddUp(t *testing.T) {
	first, other := newSums(), newSums()
	first.levels[mug] = level{Initial: 1}
	first.outbox(20)
	other.provider = true
	other.restocked[mug] = level{Initial: 2}
	other.outbox(30)
	other.outbox(10)
	other.unreadable(7, "cut")
	if err := other.stored.add(sumKey{allTime, sumPlaced, ""}, "123456789012345678901234567890"); err != nil {
		t.Fatal(err)
	}
	if err := other.stored.add(sumKey{allTime, sumPlaced, ""}, "1.5"); err == nil {
		t.Error("1.5 was added")
	}
	all := newSums()
	all.add(first)
	all.add(other)
	if !all.provider || all.levels[mug].Initial != 1 || all.restocked[mug].Initial != 2 || all.unsent != 3 || all.unsentSince != 10 {
		t.Errorf("%+v", all)
	}
	if diff := cmp.Diff([]string{"outbox row 7: cut"}, all.garbled); diff != "" {
		t.Error(diff)
	}
	want, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	if got := all.stored[sumKey{allTime, sumPlaced, ""}]; got.Cmp(want) != 0 {
		t.Errorf("%s, want %s", got, want)
	}
}
