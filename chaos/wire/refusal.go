package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refusalOf is the answer of a broker that has not done what it was asked for. To cut the connection instead would
// end a member's heartbeats with it, and the group would never rest.
func refusalOf(packet []byte, asked kafkaRequest) ([]byte, error) {
	correlation := packet[8:12]
	switch asked.fate {
	case Refuse:
		request := kmsg.NewPtrOffsetCommitRequest()
		if err := bodyOf(packet, asked, request); err != nil {
			return nil, err
		}
		return framed(correlation, refusedCommit(request)), nil
	case NotLeader, NotEnoughReplicas:
		request := kmsg.NewPtrProduceRequest()
		if err := bodyOf(packet, asked, request); err != nil {
			return nil, err
		}
		code := kerr.NotLeaderForPartition.Code
		if asked.fate == NotEnoughReplicas {
			code = kerr.NotEnoughReplicas.Code
		}
		return framed(correlation, refusedProduce(request, code)), nil
	}
	return nil, fmt.Errorf("a proxy has no answer of fate %d to %s", asked.fate, asked.key.Name())
}

// bodyOf reads a request that must be of one kind.
func bodyOf(packet []byte, asked kafkaRequest, request kmsg.Request) error {
	if want := kmsg.Key(request.Key()); asked.key != want {
		return fmt.Errorf("%s cannot be answered so, only %s", asked.key.Name(), want.Name())
	}
	request.SetVersion(asked.version)
	const beforeClientID = 4 + 2 + 2 + 4 // length, key, version, correlation id
	clientID := max(0, int(int16(binary.BigEndian.Uint16(packet[beforeClientID:]))))
	body := packet[beforeClientID+2+clientID:]
	if request.IsFlexible() {
		body = body[1:] // the header's tags, of which there are none
	}
	if err := request.ReadFrom(body); err != nil {
		return fmt.Errorf("read a request %s: %w", asked.key.Name(), err)
	}
	return nil
}

func refusedCommit(request *kmsg.OffsetCommitRequest) kmsg.Response {
	refusal := kmsg.NewPtrOffsetCommitResponse()
	refusal.SetVersion(request.GetVersion())
	for _, topic := range request.Topics {
		refused := kmsg.OffsetCommitResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
		for _, partition := range topic.Partitions {
			refused.Partitions = append(refused.Partitions, kmsg.OffsetCommitResponseTopicPartition{
				Partition: partition.Partition, ErrorCode: kerr.UnknownServerError.Code,
			})
		}
		refusal.Topics = append(refusal.Topics, refused)
	}
	return refusal
}

func refusedProduce(request *kmsg.ProduceRequest, code int16) kmsg.Response {
	refusal := kmsg.NewPtrProduceResponse()
	refusal.SetVersion(request.GetVersion())
	for _, topic := range request.Topics {
		refused := kmsg.ProduceResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
		for _, partition := range topic.Partitions {
			one := kmsg.NewProduceResponseTopicPartition()
			one.Partition, one.ErrorCode, one.BaseOffset = partition.Partition, code, -1
			refused.Partitions = append(refused.Partitions, one)
		}
		refusal.Topics = append(refusal.Topics, refused)
	}
	return refusal
}

// framed is an answer as it goes over the line.
func framed(correlation []byte, answer kmsg.Response) []byte {
	head := append([]byte{0, 0, 0, 0}, correlation...)
	if answer.IsFlexible() {
		head = append(head, 0) // the header's tags, of which there are none
	}
	whole := answer.AppendTo(head)
	binary.BigEndian.PutUint32(whole, uint32(len(whole)-4))
	return whole
}
