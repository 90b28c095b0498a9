package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	decode "github.com/go-json-experiment/json/v1" // encoding/json as it is from Go 1.27 on, in a third of the time

	"millrace/verify/spill"
)

// seed is for digests, which are compared within one run only.
var seed = maphash.MakeSeed()

// item is one line of an order.
type item struct {
	SKU       string `json:"sku"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unitPrice"`
}

func (i item) String() string { return fmt.Sprintf("%d %s", i.Quantity, i.SKU) }

func codeItems(c *spill.Coder, list *[]item) {
	spill.Each(c, list, func(i *item) {
		c.Name(&i.SKU)
		spill.Number(c, &i.Quantity)
		spill.Number(c, &i.UnitPrice)
	})
}

// orderState is the order service's row, or what the history makes of it.
type orderState struct {
	Status string      `json:"status"`
	Reason string      `json:"reason"`
	Items  []item      `json:"items"`
	Total  money       `json:"total"`
	Stock  stockHeard  `json:"stock"`
	Money  moneyHeard  `json:"payment"`
	Parcel []string    `json:"parcel"`
	Placed placedBytes `json:"-"` // all that the shop sent
}

// stockHeard and moneyHeard are what the order has heard of inventory and payment.
type (
	stockHeard struct {
		Reserved bool `json:"reserved"`
		Rejected bool `json:"rejected"`
		Released bool `json:"released"`
	}
	moneyHeard struct {
		Pending       bool   `json:"pending"`
		Succeeded     bool   `json:"succeeded"`
		Failed        string `json:"failed"`
		RefundFollows bool   `json:"refundFollows"`
		Refunded      bool   `json:"refunded"`
		RefundFailed  bool   `json:"refundFailed"`
	}
)

// placedBytes is a digest of what the shop sent; 0 if nothing was placed.
type placedBytes = uint64

func (s *orderState) code(c *spill.Coder) {
	c.Name(&s.Status)
	c.Name(&s.Reason)
	codeItems(c, &s.Items)
	s.Total.code(c)
	c.Flags(&s.Stock.Reserved, &s.Stock.Rejected, &s.Stock.Released,
		&s.Money.Pending, &s.Money.Succeeded, &s.Money.RefundFollows, &s.Money.Refunded, &s.Money.RefundFailed)
	c.Name(&s.Money.Failed)
	spill.Each(c, &s.Parcel, c.Name)
	c.Hash(&s.Placed)
}

// asPlaced is what the shop sent, in the row and in the history alike.
type asPlaced struct {
	CustomerID      string          `json:"customerId"`
	Items           json.RawMessage `json:"items"`
	Total           json.RawMessage `json:"total"`
	PaymentMethod   string          `json:"paymentMethod"`
	ShippingAddress json.RawMessage `json:"shippingAddress"`
	Contact         json.RawMessage `json:"contact"`
}

func digestPlaced(data []byte) (placedBytes, error) {
	var p asPlaced
	if err := decode.Unmarshal(data, &p); err != nil {
		return 0, err
	}
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range []json.RawMessage{[]byte(p.CustomerID), []byte(p.PaymentMethod), p.Items, p.Total, p.ShippingAddress, p.Contact} {
		var flat bytes.Buffer
		if err := json.Compact(&flat, part); err != nil { // a text, or nothing
			flat.Reset()
			flat.Write(part)
		}
		h.Write(flat.Bytes())
		h.WriteByte(0)
	}
	return max(h.Sum64(), 1), nil
}

// paymentState is the payment service's row.
type paymentState struct {
	Status string      `json:"status"`
	Total  money       `json:"total"`
	Refund refundState `json:"refund"`
}

type refundState struct {
	Number int64  `json:"number"`
	Note   string `json:"note"`
}

func (s *paymentState) code(c *spill.Coder) {
	c.Name(&s.Status)
	s.Total.code(c)
	spill.Number(c, &s.Refund.Number)
	c.Text(&s.Refund.Note)
}

// reservation is the inventory service's row.
type reservation struct {
	Status string `json:"status"`
	Items  []item `json:"items"`
}

func (s *reservation) code(c *spill.Coder) {
	c.Name(&s.Status)
	codeItems(c, &s.Items)
}

// shipment is the shipping service's row.
type shipment struct {
	Status string `json:"status"`
}

func (s *shipment) code(c *spill.Coder) { c.Name(&s.Status) }

// notices is the notification service's row: what was sent, as "kind/channel".
type notices struct{ Sent []string }

func (s *notices) code(c *spill.Coder) { spill.Each(c, &s.Sent, c.Name) }

// noticeEntry is a kind of notice as rows have it now, or one channel of it as they once had.
type noticeEntry struct {
	Kind    string `json:"kind"`
	Email   string `json:"email"`
	SMS     string `json:"sms"`
	Push    string `json:"push"`
	Channel string `json:"channel"`
	Status  string `json:"status"`
}

func (s *notices) read(data []byte) error {
	var state struct {
		Notices []noticeEntry `json:"notices"`
	}
	if err := decode.Unmarshal(data, &state); err != nil {
		return err
	}
	for _, n := range state.Notices {
		if n.Channel != "" {
			if n.Status == "SENT" {
				s.Sent = append(s.Sent, n.Kind+"/"+n.Channel)
			}
			continue
		}
		for channel, entry := range map[string]string{"email": n.Email, "sms": n.SMS, "push": n.Push} {
			if entry != "" && entry != "WAITING" && entry != "FAILED" { // it is the time at which it was sent
				s.Sent = append(s.Sent, n.Kind+"/"+channel)
			}
		}
	}
	return nil
}

// readState reads a service's state. A row that was inserted and never changed holds {}.
func (r *row) readState(data []byte) {
	r.makeState()
	var err error
	switch r.Service {
	case orders:
		if err = decode.Unmarshal(data, r.Order); err == nil && r.Order.Status != "" {
			r.Order.Placed, err = digestPlaced(data)
		}
	case notification:
		err = r.Notices.read(data)
	case analytics:
		err = r.Analysed.read(data)
	default:
		err = decode.Unmarshal(data, r.state())
	}
	if err != nil {
		r.makeState()
		r.Unreadable = oneLine(err.Error())
	}
}

// historyFact is what the checks need of an entry's data.
type historyFact struct {
	Status        string      `json:"status"`
	Previous      string      `json:"previous"`
	Reason        string      `json:"reason"`
	RefundFollows bool        `json:"refundFollows"`
	Placed        placedBytes `json:"-"`
	Unreadable    string      `json:"-"`
}

func (e *entry) read(data []byte) {
	err := decode.Unmarshal(data, &e.Fact)
	if err == nil && e.Type == factPlaced {
		e.Fact.Placed, err = digestPlaced(data)
	}
	if err != nil {
		e.Fact = historyFact{Unreadable: oneLine(err.Error())}
	}
}

// micros is the time as facts have it.
func micros(t time.Time) int64 { return t.UnixMicro() }

// oneLine makes an error's text fit for a report.
func oneLine(s string) string {
	const most = 200
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
