package scenario

import (
	"testing"

	"millrace/topic"
)

func TestOurConsumer(t *testing.T) {
	round, env := aRound(t), anEnv(t)
	const orders = 30_000
	records, err := fill(t.Context(), round.Brokers, env.Partitions, orders, topic.OrderCreated.Name, topic.InventoryReserved.Name)
	if err != nil {
		t.Fatal(err)
	}
	values, err := drainOurs(t.Context(), env, round, orders, records)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(values)
}
