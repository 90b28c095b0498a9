package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// groupNames is what groups' names end with.
	groupNames = "-service"
	// topicPatience is how long groups may take to be empty, and the broker to do what it is asked.
	topicPatience = 30 * time.Second
	topicPoll     = 100 * time.Millisecond
	// poisons is how many bad records come at once: each kind more than once.
	poisons = 24
)

var topicFaults = []Fault{
	{Name: "offsets-rewound", What: "the routers are stopped and all groups begin anew at the first record: everything is delivered again", Heals: "by itself", On: everything,
		Shortest: 0, Longest: time.Second, inject: withoutMembers(rewind)},
	{Name: "offsets-lost", Injected: true, What: "the routers are stopped and all groups are deleted", Heals: "by itself", On: everything,
		Shortest: 0, Longest: time.Second, inject: withoutMembers(forget)},
	retentionFault,
	{Name: "topic-deleted", Injected: true, Alone: true, What: "a topic is deleted under running routers", Heals: "not at all", On: everything,
		Shortest: 0, Longest: time.Second, inject: func(ctx context.Context, i *injection) (heal, error) {
			err := i.broker.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
				answer, err := admin.DeleteTopic(ctx, "ecommerce.payment.success")
				return errors.Join(err, answer.Err)
			})
			return once(func(context.Context) error { return nil }), err
		}},
	{Name: "poison", Injected: true, Alone: true, What: "bad records come to the topics: no JSON, no value, no id, no UTF-8, unknown types and versions, keys that are no order's", Heals: "by itself", On: everything,
		Shortest: 0, Longest: time.Second, inject: poison},
}

// withoutMembers does something to topics or groups while no router runs.
func withoutMembers(do func(context.Context, *kadm.Client) (int64, error)) func(context.Context, *injection) (heal, error) {
	return func(ctx context.Context, i *injection) (heal, error) {
		if err := i.stopRouters(); err != nil {
			return nil, err
		}
		var hits int64
		err := i.broker.admin(ctx, func(ctx context.Context, admin *kadm.Client) (err error) {
			ctx, cancel := context.WithTimeout(ctx, topicPatience)
			defer cancel()
			for {
				// The last member may still be leaving. To commit beside one has another error than to delete.
				if hits, err = do(ctx, admin); !errors.Is(err, kerr.NonEmptyGroup) && !errors.Is(err, kerr.UnknownMemberID) {
					return err
				}
				if !sleep(ctx, topicPoll) {
					return err
				}
			}
		})
		return func(context.Context) (int64, error) { return hits, i.startRouters() }, err
	}
}

func groups(ctx context.Context, admin *kadm.Client) (names []string, err error) {
	all, err := admin.ListGroups(ctx)
	for _, name := range all.Groups() {
		if strings.HasSuffix(name, groupNames) {
			names = append(names, name)
		}
	}
	return names, err
}

func rewind(ctx context.Context, admin *kadm.Client) (hits int64, err error) {
	names, err := groups(ctx, admin)
	for _, name := range names {
		committed, failed := admin.FetchOffsets(ctx, name)
		if failed != nil {
			return hits, failed
		}
		begin := kadm.Offsets{}
		committed.Each(func(o kadm.OffsetResponse) {
			begin.AddOffset(o.Topic, o.Partition, 0, -1)
			hits += o.At
		})
		answer, failed := admin.CommitOffsets(ctx, name, begin)
		err = errors.Join(err, failed, answer.Error())
	}
	return hits, err
}

func forget(ctx context.Context, admin *kadm.Client) (int64, error) {
	names, err := groups(ctx, admin)
	if err != nil {
		return 0, err
	}
	answers, err := admin.DeleteGroups(ctx, names...)
	for _, answer := range answers {
		if !errors.Is(answer.Err, kerr.GroupIDNotFound) { // it was deleted when it was tried before
			err = errors.Join(err, answer.Err)
		}
	}
	return int64(len(names)), err
}

// poison sends bad records, some of them under the ids of orders that are under way.
func poison(ctx context.Context, i *injection) (heal, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(i.broker.addr()), kgo.ClientID("chaos-poison"), kgo.RecordDeliveryTimeout(topicPatience))
	if err != nil {
		return nil, fmt.Errorf("make a client for bad records: %w", err)
	}
	defer client.Close()
	rows, err := i.database.admin.QueryContext(ctx, "SELECT order_id FROM orders.orders ORDER BY created_at DESC LIMIT $1", poisons)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var records []*kgo.Record
	for n := 0; rows.Next(); n++ {
		var order string
		if err := rows.Scan(&order); err != nil {
			return nil, err
		}
		records = append(records, badRecord(n, order))
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	hits := int64(len(records))
	return func(context.Context) (int64, error) { return hits, nil }, client.ProduceSync(ctx, records...).FirstErr()
}

// badRecord is one of the kinds of bad records, of an order.
func badRecord(n int, order string) *kgo.Record {
	header := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
	r := &kgo.Record{Topic: "ecommerce.payment.success", Key: []byte(order), Value: []byte(`{"orderId":"` + order + `"}`)}
	id, typed := header("ce_id", uuid.NewString()), header("ce_type", "PaymentSucceeded")
	r.Headers = []kgo.RecordHeader{id, typed, header("ce_source", "elsewhere")}
	switch n % 8 {
	case 0:
		r.Value = []byte("{ no JSON")
	case 1:
		r.Value = nil
	case 2:
		r.Headers, r.Value = nil, []byte("neither headers nor JSON")
	case 3:
		r.Value = []byte("{\"orderId\":\"\xff\xfe\"}")
	case 4:
		r.Headers[1] = header("ce_type", "SomethingElse")
	case 5:
		r.Headers = append(r.Headers, header("ce_dataschemaversion", "99"))
	case 6:
		r.Key, r.Value = []byte("no order's id"), []byte("{}")
	case 7:
		r.Value = []byte(`{"orderId":"` + uuid.NewString() + `"}`) // another one's than the key
	}
	return r
}
