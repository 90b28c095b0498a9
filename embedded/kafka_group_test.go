//go:build unix

package embedded

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// rawSession is how long a member of these tests may be silent, and rawRebalance how long others wait for it.
	rawSession, rawRebalance = 6 * time.Second, 10 * time.Second
	rawPoll                  = 50 * time.Millisecond
	rawPatience              = time.Minute
)

// rawMember is a member of a group that does nothing by itself.
type rawMember struct {
	client     *kgo.Client
	group      string
	id         string
	generation int32
}

func newRawMember(t *testing.T, addr, group string) *rawMember {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &rawMember{client: client, group: group}
}

// join asks to be a member, and returns when everybody is; the first time, it is given a name and has to ask again.
func (m *rawMember) join(ctx context.Context) error {
	for {
		request := kmsg.NewPtrJoinGroupRequest()
		request.Group, request.MemberID, request.ProtocolType = m.group, m.id, "consumer"
		request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = int32(rawSession.Milliseconds()), int32(rawRebalance.Milliseconds())
		protocol := kmsg.NewJoinGroupRequestProtocol()
		protocol.Name = "range"
		request.Protocols = append(request.Protocols, protocol)
		answer, err := request.RequestWith(ctx, m.client)
		if err != nil {
			return err
		}
		m.id, m.generation = answer.MemberID, answer.Generation
		if err := kerr.ErrorForCode(answer.ErrorCode); err != kerr.MemberIDRequired {
			return err
		}
	}
}

// lead hands out nothing.
func (m *rawMember) lead(ctx context.Context) error {
	request := kmsg.NewPtrSyncGroupRequest()
	request.Group, request.MemberID, request.Generation = m.group, m.id, m.generation
	answer, err := request.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.ErrorCode)
}

// beat says whether the group is as it was.
func (m *rawMember) beat(ctx context.Context) error {
	request := kmsg.NewPtrHeartbeatRequest()
	request.Group, request.MemberID, request.Generation = m.group, m.id, m.generation
	answer, err := request.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.ErrorCode)
}

// Who goes away while it waits for the others to join is no member any more when its session has run out, though it was
// a member when they had joined; else its partitions stay nobody's. Whether the broker noticed too early was a matter of
// luck, each time: a few groups.
func TestWhoDiesWhileJoiningIsForgotten(t *testing.T) {
	broker := startKafka(t, KafkaConfig{Dir: t.TempDir()})
	for _, group := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			dieWhileJoining(t, broker.Addr(), group)
		})
	}
}

func dieWhileJoining(t *testing.T, addr, group string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rawPatience)
	defer cancel()
	stays, goes := newRawMember(t, addr, group), newRawMember(t, addr, group)
	if err := stays.join(ctx); err != nil {
		t.Fatal(err)
	}
	if err := stays.lead(ctx); err != nil {
		t.Fatal(err)
	}
	joining := make(chan error, 1)
	go func() { joining <- goes.join(ctx) }()
	admin := kadm.NewClient(newRawMember(t, addr, group).client)
	look := time.NewTicker(rawPoll)
	defer look.Stop()
	for members := 1; members < 2; <-look.C {
		groups, err := admin.DescribeGroups(ctx, group)
		if err != nil {
			t.Fatal(err)
		}
		members = len(groups[group].Members)
		if err := stays.beat(ctx); err != nil && err != kerr.RebalanceInProgress {
			t.Fatal(err)
		}
	}
	goes.client.Close()
	if err := <-joining; err == nil {
		t.Fatal("it has joined")
	}
	if err := stays.join(ctx); err != nil {
		t.Fatal(err)
	}
	if err := stays.lead(ctx); err != nil {
		t.Fatal(err)
	}
	for {
		switch err := stays.beat(ctx); err {
		case nil:
			<-look.C
		case kerr.RebalanceInProgress:
			return // it was given up
		default:
			t.Fatalf("the one that died is a member still: %v", err)
		}
	}
}
