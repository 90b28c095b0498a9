package verify

import (
	"encoding/binary"
	"slices"
	"time"
)

// The world of these tests is four orders and all that is known of them: facts as they would have been
// read, without a database or a log. It is right in every detail; a test damages one.

const (
	second     = int64(time.Second / time.Microsecond)
	now        = 1_800_000_000 * second
	itsRequest = "the-request"
	mug        = "MUG-RED"
)

var price = money{2500, "EUR"}

type world struct {
	look look
	sums *sums
	// paid is delivered; cancelled was paid, and everything went back; parked is held up by a letter at
	// payment; begun was placed a second ago.
	paid, cancelled, parked, begun *story
}

// story is an order, told event by event.
type story struct {
	*order
	world     *world
	at        int64
	next      [kinds]int64
	partition int32
}

// numbered makes ids: any two are different.
var numbered uint64

func anyID() (i id) {
	numbered++
	binary.BigEndian.PutUint64(i[:], 0x0199_c0de_0000_7000+numbered%0x1000) // in the random part, not in the version
	binary.BigEndian.PutUint64(i[8:], 0x8000_0000_0000_0000+numbered)
	return i
}

func newWorld() *world {
	w := &world{sums: newSums()}
	w.look = look{log: true, provider: true, patience: DefaultPatience.Microseconds()}
	w.sums.provider = true
	for s := range services {
		w.look.at[s] = now
		for k := range kinds {
			w.look.partitions[k] = 3
			w.look.gone[k] = map[int32]int64{}
			w.look.committed[s][k] = map[int32]int64{0: 1000, 1: 1000, 2: 1000}
		}
	}
	w.sums.levels[mug] = level{Initial: 90, Restocked: 10, Available: 96, Reserved: 2, Sold: 2}
	w.sums.restocked[mug] = level{Initial: 90, Restocked: 10}
	w.paid, w.cancelled, w.parked, w.begun = w.deliver(), w.cancel(), w.park(), w.begin()
	for _, s := range w.all() {
		if r := s.Rows[analytics]; r != nil {
			r.Analysed.contribute(w.sums.stored)
		}
	}
	return w
}

func (w *world) all() []*story { return []*story{w.paid, w.cancelled, w.parked, w.begun} }

// check runs all checks.
func (w *world) check() *findings {
	f := newFindings(DefaultExamples)
	for _, s := range w.all() {
		s.conclude(&w.look)
		checkOrder(s.order, &w.look, w.sums, f)
	}
	checkMoneySums(w.sums, f)
	checkBacklog(w.sums, 100, f)
	checkRemoved(&w.look, w.sums, f)
	checkMissing(&w.look, w.sums, f)
	checkStock(&w.look, w.sums, f)
	checkOutbox(&w.look, w.sums, f)
	checkSums(&w.look, w.sums, f)
	return f
}

// place begins an order that was placed so long ago.
func (w *world) place(age time.Duration) *story {
	s := &story{order: &order{ID: anyID()}, world: w, at: now - age.Microseconds()}
	s.partition = partitionOf([]byte(s.ID.String()), 3)
	s.row(orders).Order.Items, s.row(orders).Order.Total = []item{{mug, 2, 1250}}, price
	s.happens(factPlaced, historyFact{Placed: 7})
	s.row(orders).Order.Status, s.row(orders).Order.Placed = statusPending, 7
	s.row(orders).Column = statusPending
	s.says(orderCreated, "", "")
	return s
}

// row is a service's row, made when it is first needed.
func (s *story) row(of service) *row {
	if s.Rows[of] == nil {
		s.Rows[of] = &row{Service: of, Version: 1, Created: s.at, Correlation: itsRequest}
		s.Rows[of].makeState()
		if of == orders {
			s.Rows[of].Version = 0
		}
	}
	return s.Rows[of]
}

// happens adds to the order's history.
func (s *story) happens(what string, fact historyFact) {
	r := s.row(orders)
	r.Version++
	s.History = append(s.History, entry{Version: r.Version, Type: what, Correlation: itsRequest, Fact: fact})
}

// enters is the order in another status, which it says.
func (s *story) enters(status, reason string) {
	r := s.row(orders)
	s.happens(factStatusChanged, historyFact{Status: status, Previous: r.Order.Status, Reason: reason})
	r.Order.Status, r.Order.Reason, r.Column = status, reason, status
	switch status {
	case statusAwaiting:
		s.says(paymentInitiated, "", "")
	case statusCancelling:
		s.says(orderCancelled, "", reason)
	}
	s.says(orderStatusUpdated, status, reason)
}

// says puts an event into the log, and has everybody process it who does anything with it.
func (s *story) says(k kind, status, reason string) *record {
	r := s.saysUnheard(k, status, reason)
	for _, hears := range flow[k].consumers {
		s.hears(hears, r)
	}
	return r
}

func (s *story) saysUnheard(k kind, status, reason string) *record {
	s.at += second / 10
	r := s.row(flow[k].publisher)
	r.Said++
	s.next[k]++
	made := record{
		Kind: k, Partition: s.partition, Offset: s.next[k], ID: anyID(), Source: flow[k].publisher, Version: r.Said, Correlation: itsRequest,
		At: s.at, Stamp: s.at, Digest: numbered, Readable: true, Keyed: true, Status: status, Reason: reason, Total: price,
	}
	s.Log = append(s.Log, made)
	return &s.Log[len(s.Log)-1]
}

func (s *story) hears(of service, r *record) {
	if !leavesTrace(of, r) {
		return
	}
	row := s.row(of)
	row.Processed = append(row.Processed, r.ID)
	if of == analytics {
		row.Analysed.hear(r)
	}
}

// tells sends a notice.
func (s *story) tells(notice, channel string) {
	r := s.row(notification)
	r.Notices.Sent = append(r.Notices.Sent, notice+"/"+channel)
	s.Sent = append(s.Sent, sent{s.ID.String() + "/" + notice + "/" + channel, notice, channel})
	s.says(notificationSent, notice, channel)
}

// pays goes on until the order is PAID, and its parcel is being prepared.
func (s *story) pays() {
	s.says(inventoryReserved, "", "")
	s.row(inventory).Stock.Status, s.row(inventory).Stock.Items = stockReserved, []item{{mug, 2, 1250}}
	s.happens(factStockReserved, historyFact{})
	s.row(orders).Order.Stock.Reserved = true
	s.enters(statusAwaiting, "")

	s.row(payments).Payment.Status, s.row(payments).Payment.Total = moneySucceeded, price
	s.Account = &account{Captures: 1, CapturedAmount: price.Amount, Currency: price.Currency, Charges: []string{s.ID.String() + "/charge"}}
	s.says(paymentSucceeded, "", "")
	s.says(inventoryUpdate, "", "")
	s.says(shippingInitiate, "", "")
	s.row(inventory).Stock.Status = stockSold
	s.happens(factPaymentSucceeded, historyFact{})
	s.row(orders).Order.Money.Succeeded = true
	s.enters(statusPaid, "")
	s.parcel(parcelPreparing)
}

func (s *story) parcel(status string) {
	s.row(shipping).Parcel.Status = status
	s.says(shippingStatus, status, "")
	s.happens(factParcelMoved, historyFact{Status: status})
	s.row(orders).Order.Parcel = append(s.row(orders).Order.Parcel, status)
}

func (w *world) deliver() *story {
	s := w.place(time.Hour)
	s.tells("placed", "email")
	s.pays()
	s.parcel(parcelShipped)
	s.enters(statusShipped, "")
	s.parcel(parcelDelivered)
	s.enters(statusDelivered, "")
	s.tells("delivered", "email")
	return s
}

func (w *world) cancel() *story {
	s := w.place(time.Hour)
	s.pays()
	s.enters(statusCancelling, "CUSTOMER")
	s.says(paymentRefunded, "", "")
	s.row(payments).Payment.Status, s.row(payments).Payment.Refund.Number = moneyRefunded, 1
	s.Account.Refunded, s.Account.RefundedAmount, s.Account.Refunds = 1, price.Amount, []string{s.ID.String() + "/refund"}
	s.happens(factPaymentRefunded, historyFact{})
	s.row(orders).Order.Money.Refunded = true
	s.parcel(parcelStopped)
	s.row(inventory).Stock.Status = "RELEASED"
	s.says(inventoryReleased, "", "STOPPED")
	s.happens(factStockReleased, historyFact{})
	s.row(orders).Order.Stock.Released = true
	s.enters(statusCancelled, "CUSTOMER")
	return s
}

// park is an order whose PaymentInitiated is a dead letter. Its deadline has cancelled it, and what that
// said to payment waits behind the letter.
func (w *world) park() *story {
	s := w.place(time.Hour)
	s.says(inventoryReserved, "", "")
	s.row(inventory).Stock.Status, s.row(inventory).Stock.Items = stockReserved, []item{{mug, 2, 1250}}
	s.happens(factStockReserved, historyFact{})
	s.row(orders).Order.Stock.Reserved = true
	s.enters(statusAwaiting, "")
	s.enters(statusCancelling, "DEADLINE")
	s.waits(orders, "overdue")

	r := s.row(payments)
	r.Version, r.Correlation, r.Parked = 0, "", true
	s.putAside(payments, s.event(paymentInitiated), letterNew)
	s.putAside(payments, s.event(orderCancelled), letterParked)
	s.Lanes = []lane{{Service: payments, ID: s.ID, Ordered: true}}
	s.Copies = []letterCopy{{Service: payments, Letter: s.Letters[0].ID, Stamp: s.at}}
	return s
}

// putAside takes back that a service has processed a record: it has it as a letter.
func (s *story) putAside(of service, r *record, status string) {
	row := s.row(of)
	row.Processed = slices.DeleteFunc(row.Processed, func(i id) bool { return i == r.ID })
	s.Letters = append(s.Letters, letter{
		ID: anyID(), Service: of, Ordered: true, Message: r.ID, Correlation: r.Correlation, Topic: flow[r.Kind].topic, Partition: r.Partition,
		Offset: r.Offset, Status: status, Position: int64(len(s.Letters) + 1), Lane: s.ID, Recorded: s.at,
	})
}

// waits makes a row wait for something.
func (s *story) waits(of service, step string) {
	s.row(of).Waiting = append(s.row(of).Waiting, step)
	s.Waits = append(s.Waits, wait{of, step, 1, now + second})
}

// begin is an order that nobody has heard of yet.
func (w *world) begin() *story {
	s := w.place(time.Second)
	s.waits(orders, "deadline")
	for _, of := range []service{inventory, notification, analytics} {
		s.Rows[of] = nil
	}
	s.Log[0].Offset = 5000 // behind what everybody has committed
	return s
}

// event is the one event of its kind, and with that status if it has one.
func (s *story) event(k kind, status ...string) *record {
	for i := range s.Log {
		if r := &s.Log[i]; r.Kind == k && (len(status) == 0 || r.Status == status[0]) {
			return r
		}
	}
	panic("it was never said")
}

// forget takes a record out of the log.
func (s *story) forget(r *record) {
	gone := r.ID // r is one of those that are moved
	s.Log = slices.DeleteFunc(s.Log, func(one record) bool { return one.ID == gone })
}

// unhear takes back that a service has processed a record.
func (s *story) unhear(of service, r *record) {
	s.row(of).Processed = slices.DeleteFunc(s.row(of).Processed, func(i id) bool { return i == r.ID })
}

// level changes the stock of mugs.
func (w *world) level(change func(*level)) {
	l := w.sums.levels[mug]
	change(&l)
	w.sums.levels[mug] = l
}

// restock makes the ledger say what the stock does.
func (w *world) restock() {
	l := w.sums.levels[mug]
	w.sums.restocked[mug] = level{Initial: l.Initial, Restocked: l.Restocked}
}
