//go:build unix

package story_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/router"
)

// auditLog looks at what other systems would read: every record of every topic. Of each
// order all carry its correlation id, and of each publisher the versions of an order run from
// 1 without a gap over all its topics, and ascend within each.
func (s *shop) auditLog(brokers string, orders []*placed) {
	s.t.Helper()
	correlations := map[string]string{}
	for _, o := range orders {
		correlations[o.id] = o.correlation
	}
	records, err := readLog(brokers)
	if err != nil {
		s.t.Errorf("read the topics: %v", err)
		return
	}
	type publisher struct{ order, name string }
	versions, lastIn := map[publisher]map[int]bool{}, map[string]int{}
	for _, r := range records {
		id := string(r.Key)
		correlation, ours := correlations[id]
		if !ours || isLetter(r) {
			continue // another system's, on a broker that several share; or a copy
		}
		h := map[string]string{}
		for _, one := range r.Headers {
			h[one.Key] = string(one.Value)
		}
		if h["ce_correlationid"] != correlation {
			s.t.Errorf("%s/%d/%d of order %s has the correlation id %q, want %q", r.Topic, r.Partition, r.Offset, id, h["ce_correlationid"], correlation)
		}
		version, err := strconv.Atoi(h["ce_orderversion"])
		if err != nil {
			s.t.Errorf("%s/%d/%d of order %s: ce_orderversion: %v", r.Topic, r.Partition, r.Offset, id, err)
		}
		p := publisher{id, h["ce_source"]}
		if versions[p] == nil {
			versions[p] = map[int]bool{}
		}
		if versions[p][version] {
			continue // a duplicate: its first occurrence counts
		}
		versions[p][version] = true
		if line := r.Topic + "/" + id; version < lastIn[line] {
			s.t.Errorf("%s has version %d of order %s behind %d", r.Topic, version, id, lastIn[line])
		} else {
			lastIn[line] = version
		}
	}
	for p, seen := range versions {
		all := slices.Sorted(maps.Keys(seen))
		if all[0] != 1 || all[len(all)-1] != len(all) {
			s.t.Errorf("%s said of order %s the versions %v, want all from 1", p.name, p.order, all)
		}
	}
	if len(orders) > 0 && len(versions) == 0 {
		s.t.Errorf("there are %d orders, and nothing about them in the %d records of the topics", len(orders), len(records))
	}
}

// readLog reads all records that are in the topics now.
func readLog(brokers string) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topics := router.Flow(router.Services{}).Topics()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) { left += int(o.Offset) })
	var records []*kgo.Record
	for left > len(records) {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("%d of %d records: %w", len(records), left, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}
