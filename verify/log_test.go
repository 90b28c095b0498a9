package verify

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/testserver"
)

// What a broker says of starts and offsets is compared: a group that stopped at a record that was then removed, one
// that has read all, one that never was.
func TestStartsAndOffsetsOfABroker(t *testing.T) {
	brokers := testserver.Kafka(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin, ctx, topic := kadm.NewClient(client), t.Context(), flow[orderCreated].topic
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	const most, removed = 10, 6
	for range most {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: 1, Value: []byte("{}")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for of, at := range map[service]int64{inventory: 4, notification: most} {
		var offsets kadm.Offsets
		offsets.AddOffset(topic, 1, at, -1)
		if answer, err := admin.CommitOffsets(ctx, of.group(), offsets); err != nil || answer.Error() != nil {
			t.Fatal(err, answer.Error())
		}
	}
	var until kadm.Offsets
	until.AddOffset(topic, 1, removed, -1)
	if answer, err := admin.DeleteRecords(ctx, until); err != nil || answer.Error() != nil {
		t.Fatal(err, answer.Error())
	}

	v := &run{sums: newSums()}
	if v.log, err = openLog([]kgo.Opt{kgo.SeedBrokers(brokers)}); err != nil {
		t.Fatal(err)
	}
	defer v.log.close()
	for _, note := range []func() error{
		func() error { return v.log.find(ctx) }, func() error { return v.log.noteStarts(ctx) },
		func() error { return v.log.noteCommitted(ctx) }, func() error { return v.log.noteEnds(ctx) },
	} {
		if err := note(); err != nil {
			t.Fatal(err)
		}
	}
	v.describe()
	for s := range services {
		v.look.at[s] = now
	}
	f := newFindings(DefaultExamples)
	checkRemoved(&v.look, v.sums, f)
	var got []string
	for _, e := range f.of(i8).examples {
		got = append(got, e.Records[0]+": "+e.Reason)
	}
	want := []string{
		topic + "/1@4: 2 records were removed before inventory-service had read them: its offset is 4, and the log starts at 6",
		topic + "/1@0: 6 records were removed before analytics-service had read them: its offset is 0, and the log starts at 6",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
