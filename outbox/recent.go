package outbox

import (
	"sync"
	"time"

	"millrace/event"
	"millrace/fault"
)

const (
	// maxRecentBytes bounds what a store keeps of rows in memory. An order is changed some
	// twenty-five times within seconds and then hardly ever again: this holds the rows of the orders under way.
	maxRecentBytes = 4 << 20
	// recordOverhead is about what a row takes beside its state: the structure, its place in the
	// map, and the ids of its steps.
	recordOverhead = 400
	// idBytes is about what a processed id takes.
	idBytes = 64
	// contested is how long a store goes on locking after it found that somebody else writes its
	// rows: another replica does so all the time, and each stale row costs a whole transaction.
	contested = 10 * time.Second
)

// recent is the rows a store wrote last, as they were committed. It saves reading and locking
// them: what is written next is compared with what the database has by then. So it need not
// be right, only nearly always. What is refused, which writes nothing, is asked once more on a row
// that was read.
//
// States are kept as JSON and decoded for each batch: what a change works on is its own, and may
// leave it, in an answer or a claim.
//
// It forgets by halves: when the younger half is full, the older one is dropped, and what is still
// asked for moves back into the younger.
type recent struct {
	mu         sync.Mutex
	young, old map[event.OrderID]*record
	size       int // of young, in bytes
	lockUntil  time.Time
}

// alone tells whether, as far as is known, nobody else writes the rows.
func (r *recent) alone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().After(r.lockUntil)
}

func (r *recent) get(id event.OrderID) (*record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec, ok := r.young[id]; ok {
		return rec, true
	}
	rec, ok := r.old[id]
	if ok {
		delete(r.old, id)
		r.put(rec)
	}
	return rec, ok
}

// keep takes rows as they were committed, at a revision.
func (r *recent) keep(rows []rowWrite, revision uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.lockUntil) {
		return // somebody else is about to change them
	}
	for i := range rows {
		rec := rows[i].record
		rec.revision = revision
		delete(r.old, rec.id)
		r.put(&rec)
	}
}

func (r *recent) put(rec *record) {
	if before, ok := r.young[rec.id]; ok {
		r.size -= before.bytes()
	}
	if r.young == nil || r.size+rec.bytes() > maxRecentBytes/2 {
		r.young, r.old, r.size = map[event.OrderID]*record{}, r.young, 0
	}
	r.young[rec.id] = rec
	r.size += rec.bytes()
}

func (r *record) bytes() int {
	return recordOverhead + len(r.state) + idBytes*(len(r.processed)+len(r.commands))
}

// drop forgets some rows.
func (r *recent) drop(ids []event.OrderID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if rec, ok := r.young[id]; ok {
			r.size -= rec.bytes()
			delete(r.young, id)
		}
		delete(r.old, id)
	}
}

// forget drops all: after an error it is not known what was committed, or by which server.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young, r.old, r.size = nil, nil, 0
}

// lockForAWhile is called when somebody else was found to write the rows.
func (r *recent) lockForAWhile() {
	if fault.On(fault.SkipStale) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lockUntil = time.Now().Add(contested)
}
