package wire

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A client that is refused, or told wrongly that it was, tries again: every fate is understood by one that did not make
// it, and a record that was kept all the same is in the log once, since the client numbers what it sends.
func TestFatesOfRecords(t *testing.T) {
	for name, c := range map[string]struct {
		fate Fate
		key  kmsg.Key
	}{
		"not leader":          {NotLeader, kmsg.Produce},
		"not enough replicas": {NotEnoughReplicas, kmsg.Produce},
		"done but late":       {DoneButLate, kmsg.Produce},
		"cut before":          {CutBefore, kmsg.Produce},
		"cut after":           {CutAfter, kmsg.Produce},
		"offsets refused":     {Refuse, kmsg.OffsetCommit},
	} {
		t.Run(name, func(t *testing.T) {
			const topic, group, times = "topic", "group", 3
			p := behind(t, topic)
			client, err := kgo.NewClient(kgo.SeedBrokers(p.Addr().String()), kgo.DefaultProduceTopic(topic), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
				kgo.MetadataMinAge(10*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			left := times
			p.When(func(k kmsg.Key) Fate {
				if k != c.key || left == 0 {
					return Forward
				}
				left--
				return c.fate
			})
			for range times {
				if err := client.ProduceSync(ctx, kgo.StringRecord("hello")).FirstErr(); err != nil {
					t.Fatalf("produce: %v", err)
				}
			}
			for got := 0; got < times; {
				fetches := client.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					t.Fatalf("fetch: %v", err)
				}
				got += fetches.NumRecords()
			}
			refused := 0
			for range times + 1 {
				if client.CommitUncommittedOffsets(ctx) != nil {
					refused++
				}
			}
			if want := map[Fate]int{Refuse: times}[c.fate]; refused != want {
				t.Errorf("%d commits of offsets failed, want %d", refused, want)
			}
			if p.Hits() != times {
				t.Errorf("%d hits, want %d", p.Hits(), times)
			}
			ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
			if err != nil {
				t.Fatal(err)
			}
			if end, _ := ends.Lookup(topic, 0); end.Offset != times {
				t.Errorf("%d records are in the log, want %d", end.Offset, times)
			}
		})
	}
}

// behind is a broker in memory with a topic, behind a proxy.
func behind(t *testing.T, topic string) *Kafka {
	t.Helper()
	listening := make(chan string, 1)
	broker := sync.OnceValue(func() string { return <-listening }) // nobody comes before it is there
	p, err := NewKafka(func() (net.Conn, error) { return net.Dial("tcp", broker()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		listening <- l.Addr().String()
		return Advertise(l, p.Addr()), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return p
}
