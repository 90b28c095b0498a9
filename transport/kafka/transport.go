package kafka

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
)

// Transport is Kafka as millrace uses it.
type Transport struct {
	*Admin
	config  Config
	metrics *metrics
}

var _ transport.Transport = (*Transport)(nil)

// New makes a transport; nothing is sent to a broker yet.
func New(config Config) (*Transport, error) {
	admin, err := NewAdmin(config)
	if err != nil {
		return nil, err
	}
	t := &Transport{Admin: admin, config: config, metrics: &metrics{}}
	if config.Registerer != nil {
		if err := config.Registerer.Register(t.metrics); err != nil {
			_ = admin.Close()
			return nil, fmt.Errorf("kafka: register the subscribers' metrics: %w", err)
		}
	}
	return t, nil
}

// Subscriber makes a member of the group; see NewSubscriber.
func (t *Transport) Subscriber(group string) (message.Subscriber, error) {
	s, err := NewSubscriber(t.config, group)
	if err != nil {
		return nil, err
	}
	t.metrics.add(s)
	return s, nil
}

// Publisher makes a publisher, which is a transport.BatchPublisher too.
func (t *Transport) Publisher() (message.Publisher, error) { return NewPublisher(t.config) }

// Close closes the administration's connections and takes the metrics back.
func (t *Transport) Close() error {
	if t.config.Registerer != nil {
		t.config.Registerer.Unregister(t.metrics)
	}
	return t.Admin.Close()
}
