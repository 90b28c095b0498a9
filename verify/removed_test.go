package verify

import (
	"slices"
	"strings"
	"testing"
)

// Where retention has removed the beginning of a topic, what it had is not missed; what is younger still is.
func TestWhatRetentionRemovedIsNotMissed(t *testing.T) {
	w := newWorld()
	gone := w.paid.event(inventoryUpdate)
	w.look.gone[inventoryUpdate][gone.Partition], w.look.removed[inventoryUpdate] = gone.At+second, 1
	w.paid.forget(gone)
	f := passes(t, w)
	if n := f.of(i7).skipped; n != 2 { // payment said it, inventory heard it
		t.Errorf("%d were skipped, want 2", n)
	}

	w = newWorld()
	gone = w.paid.event(inventoryUpdate)
	w.look.gone[inventoryUpdate][gone.Partition] = gone.At + second // and it had nothing
	w.paid.forget(gone)
	if got := w.check(); got.of(i7).violations != 2 || !strings.Contains(got.text(), "1 events that payment has said are neither in the log nor in the outbox, and 0 records were removed") {
		t.Errorf("%d violations\n%s", got.of(i7).violations, got.text())
	}

	w = newWorld()
	gone = w.paid.event(inventoryUpdate)
	w.look.gone[inventoryUpdate][gone.Partition], w.look.removed[inventoryUpdate] = now-7200*second, 1 // long before the order began
	w.paid.forget(gone)
	if got := violated(w.check()); !slices.Equal(got, []string{i7}) {
		t.Errorf("violated: %v, want I7", got)
	}

	// The first occurrence is gone, a duplicate is left behind its successor.
	w = newWorld()
	r := w.paid.event(shippingStatus, parcelPreparing)
	w.look.gone[shippingStatus][r.Partition] = r.At
	r.Offset = 900
	if f := passes(t, w); f.of(i5).skipped == 0 {
		t.Error("nothing was skipped")
	}
}

// A partition of which nothing is left says nothing of what other topics, and other partitions, had, and of no more events than it had.
func TestAnEmptiedPartitionExcusesOnlyItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		do      func(w *world)
		emptied func(w *world) (kind, int32)
		skipped int64 // -1: it is a violation
	}{
		"processed, and not heard from there": {func(w *world) {
			w.paid.row(inventory).Processed = append(w.paid.row(inventory).Processed, anyID())
		}, func(w *world) (kind, int32) { return paymentRefundFailed, w.paid.partition }, -1},
		"processed, of another partition": {func(w *world) {
			w.paid.row(notification).Processed = append(w.paid.row(notification).Processed, anyID())
		}, func(w *world) (kind, int32) { return paymentRefundFailed, (w.paid.partition + 1) % 3 }, -1},
		"processed": {func(w *world) {
			w.paid.row(notification).Processed = append(w.paid.row(notification).Processed, anyID())
		}, func(w *world) (kind, int32) { return paymentRefundFailed, w.paid.partition }, 1},
		"processed, more than it had": {func(w *world) {
			w.paid.row(notification).Processed = append(w.paid.row(notification).Processed, anyID(), anyID())
		}, func(w *world) (kind, int32) { return paymentRefundFailed, w.paid.partition }, -1},
		"said elsewhere": {func(w *world) {
			w.paid.forget(w.paid.event(notificationSent, "delivered"))
		}, func(w *world) (kind, int32) { return paymentRefundFailed, w.paid.partition }, -1},
		"said, and heard by three": {func(w *world) {
			w.paid.forget(w.paid.event(paymentSucceeded))
			w.look.gone[paymentSucceeded][w.paid.partition], w.look.removed[paymentSucceeded] = everGone, 1
		}, func(w *world) (kind, int32) { return paymentRefundFailed, w.paid.partition }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			k, partition := c.emptied(w)
			w.look.gone[k][partition], w.look.removed[k] = everGone, 1
			c.do(w)
			f := w.check()
			if c.skipped < 0 {
				if got := violated(f); !slices.Equal(got, []string{i7}) {
					t.Errorf("violated: %v, want I7\n%s", got, f.text())
				}
				return
			}
			if bad := violated(f); bad != nil || f.of(i7).skipped != c.skipped {
				t.Errorf("violated: %v; %d were skipped, want %d\n%s", bad, f.of(i7).skipped, c.skipped, f.text())
			}
		})
	}
}

// What was removed is held against nobody who has read it, or may have: whose rows were not looked at, who does not hear
// the topic, whose offset may have expired while nobody ran.
func TestWhatWasReadMayBeRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		do      func(w *world)
		skipped int64
	}{
		"by everyone, and nothing is left": {func(w *world) {
			for k := range kinds {
				w.look.starts[k] = map[int32]int64{0: 1000, 1: 1000, 2: 1000}
			}
		}, 0},
		"by those whose rows were looked at": {func(w *world) {
			w.look.starts[shippingInitiate] = map[int32]int64{1: 1001}
			w.look.committed[analytics][shippingInitiate][1] = 1001
			w.look.at[shipping] = 0
			for _, s := range w.all() {
				s.Rows[shipping] = nil
			}
		}, 0},
		"by a group whose offset may have expired": {func(w *world) {
			w.look.starts[shippingInitiate] = map[int32]int64{1: 12}
			delete(w.look.committed[shipping][shippingInitiate], 1)
			w.sums.worked[shipping] = now - offsetsKept.Microseconds() - second
		}, 12},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.do(w)
			if f := passes(t, w); f.of(i8).skipped != c.skipped {
				t.Errorf("%d were skipped, want %d", f.of(i8).skipped, c.skipped)
			}
		})
	}
}

// A letter's copy may be older than what Kafka, or the database, keeps.
func TestOldLettersAreNotMissed(t *testing.T) {
	old := func() *world {
		w := newWorld()
		w.parked.Copies = nil
		w.look.letterPartitions[payments] = 3
		return w
	}
	w := old()
	w.look.lettersGone[payments] = map[int32]int64{w.parked.partition: w.parked.Letters[0].Recorded}
	w.paid.Copies = []letterCopy{{Service: shipping, Letter: anyID(), Stamp: now - lettersKept.Microseconds() - 1}}
	if f := passes(t, w); f.of(i9).skipped != 1 {
		t.Errorf("%d were skipped, want 1", f.of(i9).skipped)
	}
	w = old()
	w.look.lettersGone[payments] = map[int32]int64{(w.parked.partition + 1) % 3: everGone} // where no copy of it has been
	if got := violated(w.check()); !slices.Equal(got, []string{i9}) {
		t.Errorf("violated: %v, want I9", got)
	}
}
