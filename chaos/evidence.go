package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/embedded"
)

// evidencePatience bounds the dumps: a run that failed may have a server that does not answer.
const evidencePatience = time.Minute

// keepEvidence writes down what the databases and the topics hold. The logs and the servers' own files are in the
// run's directory anyway.
func (r *run) keepEvidence() error {
	ctx, cancel := context.WithTimeout(context.Background(), evidencePatience)
	defer cancel()
	err := errors.Join(r.system.dumpGroups(ctx), r.system.dumpDatabase(ctx), r.system.dumpTopics(ctx))
	r.say("the evidence is in %s", r.dir)
	if err != nil {
		r.say("not all of it could be kept: %v", err)
	}
	return nil
}

func (y *system) dumpDatabase(ctx context.Context) error {
	if y.database == nil || y.database.server == nil {
		return nil
	}
	program, err := embedded.FindPostgresProgram("pg_dump")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "--file", filepath.Join(y.dir, "database.sql"), y.database.dsn)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("dump the database: %w: %s", err, out)
	}
	return nil
}

// dumpGroups says which member has which partitions, and where each group has come to: a partition that stands still has
// nobody, or somebody who does not read it.
func (y *system) dumpGroups(ctx context.Context) error {
	if y.broker == nil {
		return nil
	}
	var text strings.Builder
	err := y.broker.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		lags, err := admin.Lag(ctx)
		for _, group := range lags.Sorted() {
			for _, m := range group.Members {
				fmt.Fprintf(&text, "%s: the group is %s, and has the member %s of %s\n", group.Group, group.State, m.MemberID, m.ClientHost)
			}
			for _, l := range group.Lag.Sorted() {
				who := "nobody"
				if l.Member != nil {
					who = l.Member.MemberID
				}
				fmt.Fprintf(&text, "%s: %s/%d is at %d of %d; it is read by %s\n", group.Group, l.Topic, l.Partition, l.Commit.At, l.End.Offset, who)
			}
		}
		return err
	})
	if err = errors.Join(err, os.WriteFile(filepath.Join(y.dir, "groups.txt"), []byte(text.String()), 0o600)); err != nil {
		return fmt.Errorf("dump the groups: %w", err)
	}
	return nil
}

// record is a line of topics.jsonl.
type record struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	At        time.Time         `json:"at"`
	Key       string            `json:"key"`
	Headers   map[string]string `json:"headers"`
	Value     string            `json:"value"`
}

func (y *system) dumpTopics(ctx context.Context) error {
	if y.broker == nil {
		return nil
	}
	file, err := os.Create(filepath.Join(y.dir, "topics.jsonl"))
	if err != nil {
		return fmt.Errorf("dump the topics: %w", err)
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	lines := json.NewEncoder(out)
	err = y.broker.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		topics, err := admin.ListTopics(ctx)
		if err != nil {
			return err
		}
		ends, err := admin.ListEndOffsets(ctx, topics.Names()...)
		if err != nil {
			return err
		}
		begins, err := admin.ListStartOffsets(ctx, topics.Names()...)
		if err != nil {
			return err
		}
		left := int64(0)
		ends.Each(func(end kadm.ListedOffset) {
			if begin, ok := begins.Lookup(end.Topic, end.Partition); ok {
				left += end.Offset - begin.Offset
			}
		})
		client, err := kgo.NewClient(kgo.SeedBrokers(y.broker.addr()), kgo.ConsumeTopics(topics.Names()...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return err
		}
		defer client.Close()
		for left > 0 {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return err
			}
			fetches.EachRecord(func(r *kgo.Record) {
				left--
				headers := map[string]string{}
				for _, h := range r.Headers {
					headers[h.Key] = string(h.Value)
				}
				err = errors.Join(err, lines.Encode(record{r.Topic, r.Partition, r.Offset, r.Timestamp, string(r.Key), headers, string(r.Value)}))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("dump the topics: %w", err)
	}
	return nil
}
