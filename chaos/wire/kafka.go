package wire

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka is a proxy that reads what a client asks a broker for. Clients go where a broker tells them, so the
// broker has to name the proxy's address as its own; see Advertise.
type Kafka struct {
	Proxy
	deciding sync.Mutex
	decide   func(kmsg.Key) Fate
}

// NewKafka stands before the broker that dial reaches, until Close.
func NewKafka(dial func() (net.Conn, error)) (*Kafka, error) {
	p := &Kafka{decide: func(kmsg.Key) Fate { return Forward }}
	p.dial, p.pump = dial, p.pumpConnection
	return p, p.start()
}

// Advertise makes a listener go by another address, for a broker that tells clients where it listens.
func Advertise(l net.Listener, as net.Addr) net.Listener { return advertised{l, as} }

type advertised struct {
	net.Listener
	as net.Addr
}

func (a advertised) Addr() net.Addr { return a.as }

// When sets who decides from now on; nil: everything is forwarded. One request at a time is decided about.
func (p *Kafka) When(decide func(kmsg.Key) Fate) {
	if decide == nil {
		decide = func(kmsg.Key) Fate { return Forward }
	}
	p.deciding.Lock()
	defer p.deciding.Unlock()
	p.decide = decide
}

func (p *Kafka) fateOf(k kmsg.Key) Fate {
	p.deciding.Lock()
	defer p.deciding.Unlock()
	return p.decide(k)
}

// kafkaRequest is a request whose answer is not to arrive, or not as it is.
type kafkaRequest struct {
	key     kmsg.Key
	version int16
	fate    Fate
}

// requestOf reads a request's head.
func requestOf(packet []byte) (r kafkaRequest, correlation uint32) {
	return kafkaRequest{key: kmsg.Key(binary.BigEndian.Uint16(packet[4:])), version: int16(binary.BigEndian.Uint16(packet[6:]))},
		binary.BigEndian.Uint32(packet[8:])
}

func (p *Kafka) pumpConnection(client, server net.Conn) {
	var (
		mu      sync.Mutex
		spoiled = map[uint32]kafkaRequest{} // by correlation id
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
			asked, correlation := requestOf(packet)
			switch asked.fate = p.fateOf(asked.key); asked.fate {
			case CutBefore:
				p.hit()
				return errCut
			case Refuse, NotLeader, NotEnoughReplicas:
				refusal, err := refusalOf(packet, asked)
				if err != nil {
					return err
				}
				if err := answer(refusal); err != nil {
					return err
				}
				p.hit()
				continue
			case CutAfter, DoneButLate:
				mu.Lock()
				spoiled[correlation] = asked
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
			correlation := binary.BigEndian.Uint32(packet[4:])
			mu.Lock()
			asked, spoil := spoiled[correlation]
			delete(spoiled, correlation)
			mu.Unlock()
			if spoil {
				if carriedOut(asked, packet[answerHead:]) {
					p.hit()
				}
				if asked.fate == CutAfter {
					return errCut
				}
				if packet, err = asLate(packet, asked); err != nil {
					return err
				}
			}
			if err := answer(packet); err != nil {
				return err
			}
		}
	}
	both(client, server, there, back)
}

// answerHead is the length and the correlation id, with which every answer begins.
const answerHead = 4 + 4

// produced reads a broker's answer to Produce.
func produced(asked kafkaRequest, body []byte) (*kmsg.ProduceResponse, error) {
	answer := kmsg.NewPtrProduceResponse()
	answer.SetVersion(asked.version)
	if answer.IsFlexible() {
		body = body[1:] // the header's tags, of which there are none
	}
	return answer, answer.ReadFrom(body)
}

// carriedOut tells whether a broker that was asked to keep records says that it has.
func carriedOut(asked kafkaRequest, body []byte) bool {
	if asked.key != kmsg.Produce {
		return true
	}
	answer, err := produced(asked, body)
	if err != nil {
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

// asLate turns a broker's good word about records into a time-out.
func asLate(packet []byte, asked kafkaRequest) ([]byte, error) {
	answer, err := produced(asked, packet[answerHead:])
	if err != nil {
		return nil, err
	}
	for i := range answer.Topics {
		for j := range answer.Topics[i].Partitions {
			if p := &answer.Topics[i].Partitions[j]; p.ErrorCode == 0 {
				p.ErrorCode, p.BaseOffset = kerr.RequestTimedOut.Code, -1
			}
		}
	}
	return framed(packet[4:answerHead], answer), nil
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
