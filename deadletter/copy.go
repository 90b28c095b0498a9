package deadletter

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/outbox"
	"millrace/transport"
)

const (
	// maxCopy is the largest copy of a letter, in bytes: what topics under dlq. take (4 MiB) without what Kafka
	// writes around the keys and values.
	maxCopy = 4<<20 - 64<<10
	// perHeader is more than Kafka takes to say how long a header's name and value are.
	perHeader = 10
	// maxCopiedKey is the longest key of a copy that had to be cut. Ours have 36 bytes.
	maxCopiedKey = 64 << 10
)

// copyOf is a letter as it goes to Kafka. One that is too large is cut: the body, or, where that is not
// enough, the original's headers and the key as well; HeaderCut names what is not whole. The database has all of it.
func (l *Letter) copyOf() (key, payload []byte, headers map[string]string) {
	key, payload, headers = l.Key, l.Payload, l.kafkaHeaders()
	if sizeOf(key, payload, headers) <= maxCopy {
		return key, payload, headers
	}
	var cut []string
	headers[HeaderCut] = "body, headers, key" // as long as it can get
	if sizeOf(key, nil, headers) > maxCopy {
		cut = append(cut, "headers")
		bare := *l
		bare.Headers = nil
		headers = bare.kafkaHeaders()
		if len(key) > maxCopiedKey {
			cut, key = append(cut, "key"), key[:maxCopiedKey]
			delete(headers, HeaderKey)
		}
		headers[HeaderCut] = "body, headers, key"
	}
	if room := maxCopy - sizeOf(key, nil, headers); room < len(payload) {
		cut, payload = append(cut, "body"), payload[:room]
	}
	headers[HeaderCut] = strings.Join(cut, ", ")
	return key, payload, headers
}

func sizeOf(key, payload []byte, headers map[string]string) int {
	n := len(key) + len(payload)
	for name, value := range headers {
		n += len(name) + len(value) + perHeader
	}
	return n
}

// publishCopies writes the letters' public copies to the outbox.
func publishCopies(ctx context.Context, tx *sql.Tx, service string, letters []*Letter) error {
	if len(letters) == 0 {
		return nil
	}
	publisher, err := outbox.NewPublisher(tx, service)
	if err != nil {
		return err
	}
	byTopic := map[string][]*message.Message{}
	for _, l := range letters {
		key, payload, headers := l.copyOf()
		msg := message.NewMessage(l.ID, payload)
		msg.Metadata = headers
		msg.SetContext(transport.WithKey(ctx, key))
		byTopic[Topic(l.Group)] = append(byTopic[Topic(l.Group)], msg)
	}
	for topic, msgs := range byTopic {
		if err := publisher.Publish(topic, msgs...); err != nil {
			return fmt.Errorf("write %d letters of %s to the outbox: %w", len(msgs), service, err)
		}
	}
	return nil
}
