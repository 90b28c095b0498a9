//go:build unix

package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Kill -9 at any moment, start again: everything goes on.
func TestAfterKillMinusNineEverythingGoesOn(t *testing.T) {
	dir := filepath.Join(openDir(t), "data")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd, servers := startRouter(t, dir, asSelf(), program)
	execute(t, servers.Postgres, kept...)
	client := kafkaClient(t, servers.Kafka)
	createTopic(t, client, "kept")
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Value: []byte("42")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	id := clusterID(t, client)

	kill(t, cmd.Process.Pid)
	_ = cmd.Wait()
	eventually(t, "Postgres ends with its parent", func() bool { return !running(servers.PID) })
	if _, err := ReadEndpoints(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("the endpoints of a killed router are read with %v, want ErrNotRunning", err)
	}

	_, servers = startRouter(t, dir, asSelf(), program)
	wantKept(t, servers.Postgres)
	client = kafkaClient(t, servers.Kafka, kgo.ConsumeTopics("kept"))
	if got := clusterID(t, client); got != id {
		t.Errorf("the cluster's id is %s, was %s", got, id)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	records := client.PollFetches(ctx).Records()
	if len(records) != 1 || string(records[0].Value) != "42" {
		t.Errorf("the log holds %v, want the one record acknowledged before", records)
	}
}

// Nothing waits here for the old servers to end: they are still busy with it.
func TestAKilledRouterIsFollowedAtOnce(t *testing.T) {
	dir := filepath.Join(openDir(t), "data")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd, servers := startRouter(t, dir, asSelf(), program)
	execute(t, servers.Postgres, kept...)
	for range 3 {
		kill(t, cmd.Process.Pid)
		_ = cmd.Wait()
		cmd, servers = startRouter(t, dir, asSelf(), program)
		wantKept(t, servers.Postgres)
	}
}

func TestARouterKilledInItsFirstSecondIsFollowedAtOnce(t *testing.T) {
	dir := filepath.Join(openDir(t), "data")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cluster := filepath.Join(dir, "postgres", "data")
	for _, reached := range []string{cluster + ".initdb/PG_VERSION", cluster + ".initdb/base/1", cluster + "/PG_VERSION", cluster + "/postmaster.pid"} {
		cmd, _ := launchRouter(t, dir, asSelf(), program)
		eventually(t, "the start gets to "+reached, func() bool {
			_, err := os.Stat(reached)
			return err == nil
		})
		kill(t, cmd.Process.Pid)
		_ = cmd.Wait()
	}
	_, servers := startRouter(t, dir, asSelf(), program)
	execute(t, servers.Postgres, kept...)
}

func kafkaClient(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr), kgo.ProducerBatchMaxBytes(kafkaMaxMessage))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func createTopic(t *testing.T, client *kgo.Client, topic string) {
	t.Helper()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

func clusterID(t *testing.T, client *kgo.Client) string {
	t.Helper()
	m, err := kadm.NewClient(client).BrokerMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m.Cluster
}
