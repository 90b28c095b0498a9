package scenario

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/event"
	"millrace/outbox"
	"millrace/topic"
)

// orderOf is an order as a shop places it, of one SKU. Ids ascend with time, as the order service's do.
func orderOf(sku string) event.OrderCreated {
	return event.OrderCreated{
		OrderID:         event.OrderID(newID()),
		CustomerID:      "c-42",
		Items:           []event.Item{{SKU: sku, Quantity: 1, UnitPrice: 1250}},
		Total:           event.Money{Amount: 1250, Currency: "EUR"},
		PaymentMethod:   "pm_accepted",
		ShippingAddress: &event.Address{Name: "Ada Byron", Street: "1 Mill Lane", City: "Bath", PostalCode: "BA1 1AA", Country: "GB"},
		Contact:         &event.Contact{Email: "ada@example.com", Phone: "+441225000000", DeviceToken: "d-1"},
	}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// sold is what the orders of all scenarios but hot_sku are of.
const sold = "MUG-RED"

// createdMessage is an OrderCreated with all headers that the order service's store gives it.
func createdMessage() (*message.Message, error) {
	e := orderOf(sold)
	payload, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode an order: %w", err)
	}
	id := newID()
	msg := message.NewMessage(id, payload)
	msg.Metadata = message.Metadata{
		outbox.HeaderSpecVersion:   "1.0",
		outbox.HeaderID:            id,
		outbox.HeaderType:          topic.OrderCreated.Event,
		outbox.HeaderSource:        "order",
		outbox.HeaderTime:          time.Now().UTC().Format(time.RFC3339Nano),
		outbox.HeaderSubject:       string(e.OrderID),
		outbox.HeaderSchemaVersion: strconv.Itoa(topic.OrderCreated.SchemaVersion),
		outbox.HeaderOrderVersion:  "1",
		outbox.HeaderCorrelationID: newID(),
		outbox.HeaderCausationID:   newID(),
		outbox.HeaderContentType:   "application/json",
	}
	return msg, nil
}

// createdMessages are n of them.
func createdMessages(n int) (message.Messages, error) {
	msgs := make(message.Messages, n)
	for i := range msgs {
		var err error
		if msgs[i], err = createdMessage(); err != nil {
			return nil, err
		}
	}
	return msgs, nil
}
