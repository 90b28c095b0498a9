//go:build unix

package story_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/testserver"
	"millrace/testserver/realkafka"
)

// kafkaProxy stands before a broker in memory, which names the proxy's address as its own.
type kafkaProxy struct {
	proxy
	mu     sync.Mutex
	decide func(kmsg.Key) fate
}

// startKafkaProxy starts a broker behind a proxy. Everybody reaches it through the proxy.
func startKafkaProxy(tb testing.TB) *kafkaProxy {
	tb.Helper()
	p := &kafkaProxy{decide: func(kmsg.Key) fate { return forward }}
	p.pump = p.pumpConnection
	behind := make(chan string, 1)
	broker := sync.OnceValue(func() string { return <-behind }) // nobody comes before it is there
	p.dial = func() (net.Conn, error) { return net.Dial("tcp", broker()) }
	startProxy(tb, &p.proxy)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(func(network, addr string) (net.Listener, error) {
		l, err := net.Listen(network, addr)
		if err != nil {
			return nil, err
		}
		behind <- l.Addr().String()
		return advertised{l, p.listener.Addr()}, nil
	}))
	if err != nil {
		tb.Fatalf("start a Kafka broker in memory: %v", err)
	}
	tb.Cleanup(cluster.Close)
	return p
}

// advertised is a listener that goes by another address.
type advertised struct {
	net.Listener
	as net.Addr
}

func (a advertised) Addr() net.Addr { return a.as }

// when sets who decides from now on. One request at a time is decided about.
func (p *kafkaProxy) when(decide func(kmsg.Key) fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

func (p *kafkaProxy) fateOf(k kmsg.Key) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.decide(k)
}

// kafkaRequest is a request whose answer is not to arrive.
type kafkaRequest struct {
	key     kmsg.Key
	version int16
}

func (p *kafkaProxy) pumpConnection(client, server net.Conn) {
	var (
		mu        sync.Mutex
		swallowed = map[uint32]kafkaRequest{} // by correlation id
	)
	answer := func(packet []byte) error { // both directions may have one
		mu.Lock()
		defer mu.Unlock()
		_, err := client.Write(packet)
		return err
	}
	there := func() error {
		for r := bufio.NewReader(client); ; {
			packet, err := readKafka(r)
			if err != nil {
				return err
			}
			asked := kafkaRequest{kmsg.Key(binary.BigEndian.Uint16(packet[4:])), int16(binary.BigEndian.Uint16(packet[6:]))}
			switch p.fateOf(asked.key) {
			case cutBefore:
				p.hits.Add(1)
				return errCut
			case refuse:
				refusal, err := refusalOf(packet)
				if err != nil {
					return err
				}
				if err := answer(refusal); err != nil {
					return err
				}
				p.hits.Add(1)
				continue
			case cutAfter:
				mu.Lock()
				swallowed[binary.BigEndian.Uint32(packet[8:])] = asked
				mu.Unlock()
			}
			if _, err := server.Write(packet); err != nil {
				return err
			}
		}
	}
	back := func() error {
		for r := bufio.NewReader(server); ; {
			packet, err := readKafka(r)
			if err != nil {
				return err
			}
			mu.Lock()
			asked, swallow := swallowed[binary.BigEndian.Uint32(packet[4:])]
			mu.Unlock()
			if swallow {
				if carriedOut(asked, packet[8:]) {
					p.hits.Add(1)
				}
				return errCut
			}
			if err := answer(packet); err != nil {
				return err
			}
		}
	}
	both(client, server, there, back)
}

// refusalOf is the answer of a broker that could not commit any of the offsets it was sent. To cut
// the connection instead would end the member's heartbeats with it, and the group would never rest.
func refusalOf(packet []byte) ([]byte, error) {
	asked := kmsg.NewPtrOffsetCommitRequest()
	if key := kmsg.Key(binary.BigEndian.Uint16(packet[4:])); key != kmsg.OffsetCommit {
		return nil, fmt.Errorf("%s cannot be refused here, only OffsetCommit", key.Name())
	}
	asked.SetVersion(int16(binary.BigEndian.Uint16(packet[6:])))
	const beforeClientID = 4 + 2 + 2 + 4 // length, key, version, correlation id
	clientID := max(0, int(int16(binary.BigEndian.Uint16(packet[beforeClientID:]))))
	body := packet[beforeClientID+2+clientID:]
	head := append([]byte{0, 0, 0, 0}, packet[8:12]...)
	if asked.IsFlexible() {
		body, head = body[1:], append(head, 0) // the headers' tags, of which there are none
	}
	if err := asked.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("read an OffsetCommit: %w", err)
	}
	refusal := kmsg.NewPtrOffsetCommitResponse()
	refusal.SetVersion(asked.GetVersion())
	for _, topic := range asked.Topics {
		refused := kmsg.OffsetCommitResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
		for _, partition := range topic.Partitions {
			refused.Partitions = append(refused.Partitions, kmsg.OffsetCommitResponseTopicPartition{
				Partition: partition.Partition, ErrorCode: kerr.UnknownServerError.Code,
			})
		}
		refusal.Topics = append(refusal.Topics, refused)
	}
	whole := refusal.AppendTo(head)
	binary.BigEndian.PutUint32(whole, uint32(len(whole)-4))
	return whole, nil
}

// carriedOut tells whether a broker that was asked to keep records says that it has.
func carriedOut(asked kafkaRequest, body []byte) bool {
	answer := kmsg.NewPtrProduceResponse()
	if asked.key != kmsg.Produce {
		return true
	}
	answer.SetVersion(asked.version)
	if answer.IsFlexible() {
		body = body[1:] // the header's tags, of which there are none
	}
	if answer.ReadFrom(body) != nil {
		return false
	}
	for _, topic := range answer.Topics {
		for _, partition := range topic.Partitions {
			if partition.ErrorCode != 0 {
				return false
			}
		}
	}
	return true
}

// readKafka reads one request or answer, with the four bytes of its length.
func readKafka(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	packet := make([]byte, 4+int(binary.BigEndian.Uint32(head)))
	_, err = io.ReadFull(r, packet)
	return packet, err
}

// kafkaForKills is a real Kafka of the test's own where the machine has one, and else a broker in
// memory, which notices a killed member much later when it was killed while it joined.
func kafkaForKills(t *testing.T) (brokers string) {
	t.Helper()
	jars, err := realkafka.FindJars()
	if errors.Is(err, realkafka.ErrMissing) && os.Getenv("MILLRACE_REQUIRE_KAFKA") != "1" {
		t.Logf("on a broker in memory: %v", err)
		return testserver.Kafka(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	broker, err := realkafka.Start(t.Context(), realkafka.Config{Dir: filepath.Join(t.TempDir(), "kafka"), Jars: jars})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Kill)
	return broker.Addr()
}
