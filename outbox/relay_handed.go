package outbox

import (
	"cmp"
	"slices"
	"sync"
)

// maxHanded bounds the rows that wait in memory for the relay, in bytes: some ten thousand events.
// What comes beyond it is read from the table.
const maxHanded = 16 << 20

// handed are rows that this process has committed, so that the relay need not read them from the
// table. They decide nothing: the relay takes one only if it has seen, or takes with it, every id
// below, so that it is what the table would show next.
type handed struct {
	mu    sync.Mutex
	open  bool // somebody relays here
	rows  []outboxRow
	bytes int
}

// add hands over rows that are committed, ids and all.
func (h *handed) add(rows []outboxRow) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range rows {
		if !h.open || h.bytes > maxHanded {
			return
		}
		h.bytes += r.size()
		h.rows = append(h.rows, r)
	}
}

// setOpen empties it, and says whether it is to take rows from now on.
func (h *handed) setOpen(open bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open, h.rows, h.bytes = open, nil, 0
}

// next returns the rows that come next by their ids, up to limit of them; none if the next id is
// not among those that were handed over. They are kept until they have been seen. more means that
// there are others.
func (h *handed) next(seen *gaps, limit int) (next []outboxRow, more bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rows = slices.DeleteFunc(h.rows, func(r outboxRow) bool {
		if seen.missing(r.id) {
			return false
		}
		h.bytes -= r.size()
		return true
	})
	slices.SortFunc(h.rows, func(a, b outboxRow) int { return cmp.Compare(a.id, b.id) })
	expected, size := seen.missingAfter(0), 0
	for _, r := range h.rows {
		if r.id != expected || len(next) == limit || size > relayBatchBytes {
			break
		}
		size += r.size()
		next = append(next, r)
		expected = seen.missingAfter(r.id)
	}
	return next, len(next) < len(h.rows)
}
