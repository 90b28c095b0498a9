package verify

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/testserver"
	"millrace/verify/spill"
)

// transactions are somebody else's, in a partition of the system's, and what verify then reads of it.
type transactions struct {
	t       *testing.T
	brokers string
	topic   string
	client  *kgo.Client
}

func newTransactions(t *testing.T) *transactions {
	x := &transactions{t: t, brokers: testserver.Kafka(t), topic: flow[orderCreated].topic}
	var err error
	if x.client, err = kgo.NewClient(kgo.SeedBrokers(x.brokers), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.client.Close)
	if _, err := kadm.NewClient(x.client).CreateTopic(t.Context(), 1, 1, nil, x.topic); err != nil {
		t.Fatal(err)
	}
	return x
}

// says puts records of nobody in particular into the log.
func (x *transactions) says(client *kgo.Client, n int) {
	x.t.Helper()
	for range n {
		if err := client.ProduceSync(x.t.Context(), &kgo.Record{Topic: x.topic, Value: []byte("{}")}).FirstErr(); err != nil {
			x.t.Fatal(err)
		}
	}
}

// begins a transaction of so many records.
func (x *transactions) begins(n int) *kgo.Client {
	x.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(x.brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(fmt.Sprint("stranger-", anyID())))
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		x.t.Fatal(err)
	}
	x.says(client, n)
	return client
}

// reads is the partition as verify has read it, with what happens after the ends were noted.
func (x *transactions) reads(meanwhile func()) (*run, *part) {
	x.t.Helper()
	v, ctx := &run{sums: newSums()}, x.t.Context()
	var err error
	if v.log, err = openLog([]kgo.Opt{kgo.SeedBrokers(x.brokers)}); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(v.log.close)
	buckets, err := spill.New(x.t.TempDir())
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = buckets.Close() })
	for _, step := range []func(context.Context) error{v.log.find, v.log.noteStarts, v.log.noteCommitted, v.log.noteEnds} {
		if err := step(ctx); err != nil {
			x.t.Fatal(err)
		}
	}
	meanwhile()
	if err := v.log.read(ctx, buckets.Writer(), func(int64) {}); err != nil {
		x.t.Fatal(err)
	}
	v.describe()
	return v, v.log.parts[x.topic][0]
}

// A transaction that somebody else has given up leaves offsets without a record. Nothing of ours is gone for that; but what is removed
// while it is read is.
func TestATransactionThatWasGivenUpIsNoLoss(t *testing.T) {
	x := newTransactions(t)
	if err := x.begins(2).EndTransaction(t.Context(), kgo.TryAbort); err != nil { // at the very beginning
		t.Fatal(err)
	}
	x.says(x.client, 3)
	if err := x.begins(4).EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	x.says(x.client, 1)
	_, p := x.reads(func() {})
	if p.hole.offsets != 2+4 || p.gone != 0 || p.removed != 0 || p.hidden != 0 {
		t.Errorf("given up: %+v, want a hole of six offsets and nothing else", *p)
	}

	_, p = x.reads(func() {
		var until kadm.Offsets
		until.AddOffset(x.topic, 0, 7, -1)
		if answer, err := kadm.NewClient(x.client).DeleteRecords(t.Context(), until); err != nil || answer.Error() != nil {
			t.Fatal(err, answer.Error())
		}
	})
	if p.gone == 0 || p.removed == 0 {
		t.Errorf("removed while it was read: %+v, want it to be gone", *p)
	}
}

// What lies behind an open transaction is not missed, and is said.
func TestWhatLiesBehindAnOpenTransactionIsNotMissed(t *testing.T) {
	x := newTransactions(t)
	x.says(x.client, 1)
	open := x.begins(1)
	x.says(x.client, 2) // our relay's, say
	v, p := x.reads(func() {})
	if p.hidden != 3 || p.end != 1 {
		t.Fatalf("%+v, want the end before the transaction, and three records hidden", *p)
	}
	if said := strings.Join(v.warnings(), "\n"); !strings.Contains(said, "3 records of "+x.topic+"/0 lie behind an open transaction") {
		t.Errorf("no word of it: %s", said)
	}
	if err := open.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if _, p := x.reads(func() {}); p.hidden != 0 || p.end <= 3 {
		t.Errorf("%+v, want all of it when the transaction has ended", *p)
	}
}

// An order of which something may lie there is not judged by it; one of another partition is.
func TestOrdersBehindAnOpenTransaction(t *testing.T) {
	hide := func(w *world, partition int32) {
		w.look.hidden[inventoryUpdate] = map[int32]int64{partition: 1}
		w.look.removed[inventoryUpdate] = 1
		w.paid.forget(w.paid.event(inventoryUpdate))
	}
	w := newWorld()
	hide(w, w.paid.partition)
	if f := passes(t, w); f.of(i7).skipped != 2 { // payment said it, inventory heard it
		t.Errorf("%d were skipped, want 2", f.of(i7).skipped)
	}
	w = newWorld()
	hide(w, (w.paid.partition+1)%3)
	if got := strings.Join(violated(w.check()), " "); got != i7 {
		t.Errorf("violated %q, want I7", got)
	}
}
