package story_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"pgregory.net/rapid"

	"millrace/outbox"
	"millrace/transport"
)

const (
	// runsThroughTheRelay is some ten seconds.
	runsThroughTheRelay = 300
	// troubledStatements of each kind and troubledBatches, of each relay, bound the trouble in one run, so that it ends. One in
	// so many goes wrong.
	troubledStatements, oneStatementIn = 30, 12
	troubledBatches, oneBatchIn        = 30, 4
	// apart is how long after the play the first relay starts, and the second one after it: odd, as relayPause is.
	apart = 1_037 * time.Microsecond
	// latestCommit is how long a transaction may be open that has drawn its ids.
	latestCommit = 4 * time.Second
	// lateCommitIn: one transaction in so many is open for a while.
	lateCommitIn = 5
	// leaseLossesPerRun is how often a relay loses its lease without knowing.
	leaseLossesPerRun = 2
)

// interleavingWire is the way from the stores to those who hear: two relays of the real code, one of which has the lease, on
// models of a database and of a broker that have trouble. Without one, what is committed is on its way at once.
type interleavingWire struct {
	seed   uint64
	db     *modelDatabase
	broker *modelBroker
	relays []*outbox.Relay
	// open is when the transaction of a service commits that was the last to draw ids: one of its batches is in flight at a time.
	open  map[string]time.Time
	drawn uint64
	// seen are the ids of the versions that came through, by publisher, order and version; said, how many were committed.
	seen      map[string]string
	last      map[string]int64 // by publisher, order and topic
	committed int
}

// newInterleavingWire starts the relays; they end with the test.
func newInterleavingWire(w *interleavingWorld, seed uint64) *interleavingWire {
	wire := &interleavingWire{seed: seed, open: map[string]time.Time{}, seen: map[string]string{}, last: map[string]int64{}}
	wire.db = &modelDatabase{leases: map[string]modelLease{}, fails: func(kind string, n int) mishap {
		chance := wire.chance(kind, n)
		if n > troubledStatements || chance.IntN(oneStatementIn) != 0 {
			return ""
		}
		return mishaps[chance.IntN(len(mishaps))]
	}}
	wire.broker = &modelBroker{}
	var pools []*sql.DB
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i, who := range []string{"first ", "second "} {
		db := sql.OpenDB(&modelConnector{wire.db, who, map[string]int{}})
		relay := outbox.NewRelay(db, &modelPublisher{modelBroker: wire.broker, wire: wire, who: who}, outbox.RelayOptions{Logger: slog.New(slog.DiscardHandler)})
		pools, wire.relays = append(pools, db), append(wire.relays, relay)
		running.Go(func() {
			time.Sleep(time.Duration(i+1) * apart)
			_ = relay.Run(ctx)
		})
	}
	w.t.Cleanup(func() {
		stop()
		running.Wait()
		for _, db := range pools {
			_ = db.Close()
		}
	})
	return wire
}

// chance is drawn from the seed for the nth thing of a kind, whatever else was drawn before: goroutines may take turns as they like.
func (wire *interleavingWire) chance(kind string, n int) *rand.Rand {
	h := wire.seed
	for _, c := range []byte(kind + strconv.Itoa(n)) {
		h = (h ^ uint64(c)) * 1099511628211 // FNV-1a
	}
	return rand.New(rand.NewPCG(h, wire.seed))
}

// commit puts what a service has committed into the outbox; its transaction may be open for a moment longer than others that
// drew their ids later.
func (wire *interleavingWire) commit(service string, records []transport.Record) {
	if len(records) == 0 {
		return
	}
	wire.committed += len(records)
	wire.drawn++
	chance := wire.chance("commit", int(wire.drawn))
	after := max(time.Until(wire.open[service]), 0)
	if chance.IntN(lateCommitIn) == 0 {
		after += time.Duration(chance.Int64N(int64(latestCommit)))
	}
	after = min(after, latestCommit)
	wire.open[service] = time.Now().Add(after)
	wire.db.write(records, after)
	for _, r := range wire.relays {
		r.Wake()
	}
}

// first tells whether a record is the first with its version. Its place among the others of its topic must be right then;
// otherwise it must be the same event.
func (wire *interleavingWire) first(t *rapid.T, service string, rec transport.Record) bool {
	version, id := headerIn(rec, outbox.HeaderOrderVersion), headerIn(rec, outbox.HeaderID)
	key := service + " " + string(rec.Key) + " " + version
	if before, again := wire.seen[key]; again {
		if before != id {
			t.Fatalf("version %s is two events, %s and %s", key, before, id)
		}
		return false
	}
	wire.seen[key] = id
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	lane := service + " " + string(rec.Key) + " " + rec.Topic
	if n <= wire.last[lane] {
		t.Fatalf("version %d of %s comes behind version %d", n, lane, wire.last[lane])
	}
	wire.last[lane] = n
	return true
}

// modelBroker keeps the order of a key in a topic.
type modelBroker struct {
	mu  sync.Mutex
	log []transport.Record
}

func (b *modelBroker) append(records ...transport.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, records...)
}

// modelPublisher is one relay's. The broker may take a batch without saying so, take nothing, take a part, or say nothing.
type modelPublisher struct {
	*modelBroker
	wire *interleavingWire
	who  string
	n    int
}

// Publish implements message.Publisher; a relay that can publish batches does not ask for it.
func (p *modelPublisher) Publish(string, ...*message.Message) error {
	return errors.New("batches only")
}

// Close implements message.Publisher.
func (p *modelPublisher) Close() error { return nil }

// PublishBatch implements transport.BatchPublisher.
func (p *modelPublisher) PublishBatch(ctx context.Context, records []transport.Record) []error {
	errs := make([]error, len(records))
	p.n++ // a relay publishes one batch after the other
	chance := p.wire.chance(p.who+"batch", p.n)
	if p.n > troubledBatches || chance.IntN(oneBatchIn) != 0 {
		p.append(records...)
		return errs
	}
	broken := map[string]bool{}
	const kinds, partly, oneRecordIn = 4, 2, 3
	switch kind := chance.IntN(kinds); kind {
	case partly: // a partition refuses in the middle
		for i, r := range records {
			if lane := r.Topic + string(r.Key); broken[lane] || chance.IntN(oneRecordIn) == 0 {
				broken[lane], errs[i] = true, errTimedOut
				continue
			}
			p.append(r)
		}
		return errs
	case 0: // all is taken, and nobody is told
		p.append(records...)
	case 1: // nothing is taken
	default: // and nothing is said, either
		<-ctx.Done()
	}
	for i := range errs {
		errs[i] = errTimedOut
	}
	return errs
}

// take returns what came into the log since it was last asked.
func (b *modelBroker) take() []transport.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.log
	b.log = nil
	return taken
}

// carry has the relays work until they wait for the clock, and takes what came through.
func (w *interleavingWorld) carry() {
	w.t.Helper()
	for _, n := range w.nodes {
		w.wire.commit(n.service(), n.memory().TakeOutbox())
	}
	synctest.Wait()
	for _, rec := range w.wire.broker.take() {
		w.cameThrough(headerIn(rec, outbox.HeaderSource), rec)
	}
}

// checkWire is what must hold at the end: all that was committed came through, and nothing else.
func (w *interleavingWorld) checkWire() {
	w.t.Helper()
	if got := len(w.wire.seen); got != w.wire.committed {
		w.t.Fatalf("%d events were committed, %d came through", w.wire.committed, got)
	}
	for _, o := range w.scenario.orders {
		for service, n := range w.said[o.id].versions {
			for v := range n {
				if _, ok := w.wire.seen[fmt.Sprint(service, " ", o.id, " ", v+1)]; !ok {
					w.t.Fatalf("version %d of %s about order %s is missing", v+1, service, o.id)
				}
			}
		}
	}
}

// TestEverySagaEndsWellThroughTheRelay is TestEverySagaEndsWell with the real relay between the stores and those who hear, twice,
// on a database and a broker with trouble: what is published may come again, or late, but is in order, complete, and nothing else.
func TestEverySagaEndsWellThroughTheRelay(t *testing.T) {
	paths := []string{relayWaited, leaseLost, heardAgain}
	checkInterleavings(t, runsThroughTheRelay, paths, func(t *rapid.T, reached func(string)) {
		scenario := drawInterleavingScenario(t, true)
		seed := rapid.Uint64().Draw(t, "trouble")
		rapid.SyncTest(t, func(t *rapid.T) {
			w := newInterleavingWorld(t, scenario, reached)
			w.wire = newInterleavingWire(w, seed)
			newInterleavingPlay(w, false, true).run()
			w.checkEnd()
			w.checkWire()
		})
	})
}
