package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestTheCollectorsPaceFollowsWhatIsInUse(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		heap, stacks uint64
		want         int
	}{
		{0, 0, minGCPercent},
		{12 * mb, 2 * mb, minGCPercent},
		{28 * mb, 4 * mb, maxGCPercent},
		{60 * mb, 20 * mb, 160},
		{104 * mb, 0, minGCPercent},
		{memoryTarget, 0, minGCPercent},
		{1 << 40, 1 << 30, minGCPercent},
	} {
		if got := gcPercent(c.heap, c.stacks); got != c.want {
			t.Errorf("%d MB of heap and %d of stacks: %d %%, want %d", c.heap/mb, c.stacks/mb, got, c.want)
		}
	}
}

// One setting would not do: what is in use changes.
func TestThePaceIsSetAfterEachCollection(t *testing.T) {
	const other = 77 // no value of ours
	followGC()
	for range 2 {
		debug.SetGCPercent(other)
		deadline := time.Now().Add(10 * time.Second)
		for now := other; now == other; now = debug.SetGCPercent(other) {
			if time.Now().After(deadline) {
				t.Fatal("a collection changed nothing")
			}
			runtime.GC()
		}
	}
}

func TestWhoeverSetsTheCollectorIsObeyed(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	if gcIsSet() {
		t.Error("nothing is set")
	}
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "100")
			if !gcIsSet() {
				t.Error("it is set")
			}
		})
	}
}
