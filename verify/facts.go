package verify

import (
	"fmt"

	"millrace/verify/spill"
)

// The facts are what is read of the tables and of the log: only what a check looks at. Times are
// microseconds since 1970, which is what Postgres keeps.

// tag tells what kind of fact lies in a bucket.
type tag = byte

const (
	tagRow tag = iota
	tagEntry
	tagRecord
	tagUnsent
	tagWait
	tagAccount
	tagSent
	tagLetter
	tagLane
	tagCopy
	tagAccepted
	tagDecided
)

// money is an amount in minor units.
type money struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

func (m money) String() string { return fmt.Sprintf("%d %s", m.Amount, m.Currency) }

func (m *money) code(c *spill.Coder) {
	spill.Number(c, &m.Amount)
	c.Name(&m.Currency)
}

// record is an event in the log, or one that still waits in the outbox.
type record struct {
	Kind      kind
	Partition int32
	Offset    int64
	// Row is the outbox row's number; 0 for a record in the log.
	Row    int64
	ID     id
	Source service
	// Version is the publisher's counter; 0 for a record that has none, which is foreign.
	Version     int64
	Correlation string
	// At is when it happened: ce_time, else the record's own time, Stamp.
	At, Stamp int64
	// Digest is of topic, headers and body.
	Digest uint64
	// Readable: the services can read it, and it is about the order that its key names.
	Readable bool
	// Keyed: its key is an order's id.
	Keyed bool

	// What the checks need of the body. Status and Reason are, of a NotificationSent, kind and channel.
	Status, Reason string
	Total          money
	AfterSuccess   bool
}

// Code codes the fields.
func (r *record) Code(c *spill.Coder) {
	spill.Number(c, &r.Kind)
	spill.Number(c, &r.Partition)
	spill.Number(c, &r.Offset)
	spill.Number(c, &r.Row)
	c.ID((*[16]byte)(&r.ID))
	spill.Number(c, &r.Source)
	spill.Number(c, &r.Version)
	c.Text(&r.Correlation)
	spill.Number(c, &r.At)
	spill.Number(c, &r.Stamp)
	c.Hash(&r.Digest)
	c.Flags(&r.Readable, &r.Keyed, &r.AfterSuccess)
	c.Name(&r.Status)
	c.Name(&r.Reason)
	r.Total.code(c)
}

// where is the record's place, as people look for it.
func (r *record) where() string {
	if r.Row != 0 {
		return fmt.Sprintf("outbox row %d (%s)", r.Row, flow[r.Kind].topic)
	}
	return fmt.Sprintf("%s/%d@%d", flow[r.Kind].topic, r.Partition, r.Offset)
}

// ours tells a record that one of the services counts from a foreign one.
func (r *record) ours() bool { return r.Version > 0 && r.Keyed }

// what is the event in words.
func (r *record) what() string {
	name := flow[r.Kind].event
	if r.Status != "" {
		name += "(" + r.Status + ")"
	}
	return name
}

// row is a service's row of one order.
type row struct {
	Service       service
	Version, Said int64
	Processed     []id
	Commands      int64
	Waiting       []string
	Correlation   string
	Parked        bool
	Created       int64
	// Column is orders.orders.status, a copy of what is in the state.
	Column string
	// Unreadable is why the state could not be read.
	Unreadable string

	// One of these is set: the service's state.
	Order    *orderState
	Payment  *paymentState
	Stock    *reservation
	Parcel   *shipment
	Notices  *notices
	Analysed *analysed
}

// Code codes the fields.
func (r *row) Code(c *spill.Coder) {
	spill.Number(c, &r.Service)
	spill.Number(c, &r.Version)
	spill.Number(c, &r.Said)
	codeIDs(c, &r.Processed)
	spill.Number(c, &r.Commands)
	spill.Each(c, &r.Waiting, c.Name)
	c.Text(&r.Correlation)
	c.Flags(&r.Parked)
	spill.Number(c, &r.Created)
	c.Name(&r.Column)
	c.Text(&r.Unreadable)
	if c.Reading() {
		r.makeState()
	}
	r.state().code(c)
}

type coded interface{ code(c *spill.Coder) }

// makeState gives the row an empty state of its service's.
func (r *row) makeState() {
	switch r.Service {
	case orders:
		r.Order = &orderState{}
	case payments:
		r.Payment = &paymentState{}
	case inventory:
		r.Stock = &reservation{}
	case shipping:
		r.Parcel = &shipment{}
	case notification:
		r.Notices = &notices{}
	default:
		r.Analysed = &analysed{}
	}
}

func (r *row) state() coded {
	switch r.Service {
	case orders:
		return r.Order
	case payments:
		return r.Payment
	case inventory:
		return r.Stock
	case shipping:
		return r.Parcel
	case notification:
		return r.Notices
	default:
		return r.Analysed
	}
}

func codeIDs(c *spill.Coder, ids *[]id) {
	spill.Each(c, ids, func(i *id) { c.ID((*[16]byte)(i)) })
}

// entry is one of an order's history.
type entry struct {
	Version     int64
	Type        string
	Correlation string
	Fact        historyFact
}

// Code codes the fields.
func (e *entry) Code(c *spill.Coder) {
	spill.Number(c, &e.Version)
	c.Name(&e.Type)
	c.Text(&e.Correlation)
	c.Name(&e.Fact.Status)
	c.Name(&e.Fact.Previous)
	c.Name(&e.Fact.Reason)
	c.Flags(&e.Fact.RefundFollows)
	c.Hash(&e.Fact.Placed)
	c.Text(&e.Fact.Unreadable)
}

// stepDeadline is the wait that gives up what it waits for.
const stepDeadline = "deadline"

// wait is a call or a deadline that a row waits for.
type wait struct {
	Service service
	Step    string
	Attempt int64
	// Due is when it is to be done, or done again.
	Due int64
}

// Code codes the fields.
func (w *wait) Code(c *spill.Coder) {
	spill.Number(c, &w.Service)
	c.Name(&w.Step)
	spill.Number(c, &w.Attempt)
	spill.Number(c, &w.Due)
}

// account is what the simulated provider's book says.
type account struct {
	Captures, Refunded             int64
	CapturedAmount, RefundedAmount int64
	Currency                       string
	// Charges and Refunds are the idempotency keys that were used.
	Charges, Refunds []string
}

// Code codes the fields.
func (a *account) Code(c *spill.Coder) {
	for _, n := range []*int64{&a.Captures, &a.Refunded, &a.CapturedAmount, &a.RefundedAmount} {
		spill.Number(c, n)
	}
	c.Name(&a.Currency)
	spill.Each(c, &a.Charges, c.Text)
	spill.Each(c, &a.Refunds, c.Text)
}

// sent is a notice in the built-in sender's book.
type sent struct{ Key, Kind, Channel string }

// Code codes the fields.
func (s *sent) Code(c *spill.Coder) {
	c.Text(&s.Key)
	c.Name(&s.Kind)
	c.Name(&s.Channel)
}

// accepted says that a client was told that the order is accepted.
type accepted struct{}

// Code has nothing to code.
func (accepted) Code(*spill.Coder) {}
