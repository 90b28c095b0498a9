package verify

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

// violated are the invariants something was found wrong about.
func violated(f *findings) []string {
	var list []string
	for name, found := range f.by {
		if found.violations > 0 {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// text is all examples.
func (f *findings) text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f.by)) {
		for _, v := range f.by[name].examples {
			fmt.Fprintf(&b, "%s %s: %s %v\n", v.Invariant, v.Order, v.Reason, v.Records)
		}
	}
	return b.String()
}

func TestAGoodWorldPasses(t *testing.T) {
	w := newWorld()
	f := w.check()
	if bad := violated(f); bad != nil {
		t.Errorf("violated: %v\n%s", bad, f.text())
	}
	for _, p := range promises {
		if p.of != "" && f.of(p.id).checked == 0 {
			t.Errorf("%s: nothing was checked", p.id)
		}
		if n := f.of(p.id).skipped; n != 0 {
			t.Errorf("%s: %d were not checked", p.id, n)
		}
	}
	if !w.paid.quiet || !w.cancelled.quiet || w.parked.quiet || w.begun.quiet {
		t.Errorf("quiet: %t, %t, %t, %t; want the first two", w.paid.quiet, w.cancelled.quiet, w.parked.quiet, w.begun.quiet)
	}
	want := Counts{Orders: 4, Records: int64(len(w.paid.Log) + len(w.cancelled.Log) + len(w.parked.Log) + 1), Unheard: 3, Letters: 1, Parked: 1}
	if f.count != want {
		t.Errorf("%+v, want %+v", f.count, want)
	}
	if f.lists != 1 || f.list[0].Order != w.parked.ID.String() {
		t.Errorf("%d orders are listed: %+v; want the parked one", f.lists, f.list)
	}
}

// damage is something done to a good world.
type damage struct {
	name string
	do   func(w *world)
	want string // the invariant
	says string // in the reason
}

var damages = []damage{
	{"an accepted order is nowhere", func(w *world) {
		w.begun.order = &order{ID: anyID(), Accepted: true}
	}, i1, "a client was told"},
	{"a row is not readable", func(w *world) {
		w.paid.row(notification).Unreadable = "unexpected end"
	}, i1, "its row at notification is not readable"},
	{"others know an order that there is not", func(w *world) {
		w.begun.order = &order{ID: anyID()}
		w.begun.at = now - 600*second
		w.begun.row(shipping).Correlation = ""
	}, i1, "shipping has a row of it"},

	{"captured twice", func(w *world) {
		w.paid.Account.Captures, w.paid.Account.CapturedAmount = 2, 2*price.Amount
	}, i2, "captured its money 2 times"},
	{"refunded twice", func(w *world) {
		w.cancelled.Account.Refunded, w.cancelled.Account.RefundedAmount = 2, 2*price.Amount
	}, i2, "refunded it 2 times"},
	{"charged under another key", func(w *world) {
		w.paid.Account.Charges = append(w.paid.Account.Charges, w.paid.ID.String()+"/charge-2")
	}, i2, "charged under the key"},
	{"refunded under another key", func(w *world) {
		w.cancelled.Account.Refunds = []string{w.cancelled.ID.String() + "/again"}
	}, i2, "refunded under the key"},
	{"a success is said twice", func(w *world) { w.paid.says(paymentSucceeded, "", "") }, i2, "PaymentSucceeded was said twice"},
	{"a parcel is sent twice", func(w *world) { w.paid.says(shippingStatus, parcelShipped, "") }, i2, "ShippingStatus(SHIPPED) was said twice"},
	{"a notice is said to be sent twice", func(w *world) { w.paid.says(notificationSent, "placed", "email") }, i2, "NotificationSent(placed) was said twice"},
	{"a notice is sent twice", func(w *world) {
		w.paid.Sent = append(w.paid.Sent, sent{w.paid.ID.String() + "/placed/email/2", "placed", "email"})
	}, i2, `"placed/email" was sent twice`},
	{"a notice is sent that the row does not know", func(w *world) {
		w.paid.Sent = append(w.paid.Sent, sent{w.paid.ID.String() + "/paid/sms", "paid", "sms"})
	}, i2, `"paid/sms" was sent, and the notification service does not know it`},
	{"both success and failure", func(w *world) {
		w.paid.says(paymentFailed, "", "CANCELLED")
	}, i2, "the payment has both succeeded and failed"},
	{"a message was processed twice", func(w *world) {
		r := w.paid.row(inventory)
		r.Processed = append(r.Processed, w.paid.event(inventoryUpdate).ID)
	}, i2, "inventory has processed "},
	{"an answer was taken twice", func(w *world) {
		r, answer := w.paid.row(payments), anyID()
		answer[6] = 5 << 4 // answers have UUIDv5s
		r.Processed = append(r.Processed, answer, answer)
	}, i2, "payment has processed "},
	{"stock is reserved and refused", func(w *world) { w.paid.says(inventoryRejected, "", "") }, i2, "both reserved and refused"},

	{"a refund never reached the provider", func(w *world) {
		w.cancelled.Account.Refunded, w.cancelled.Account.RefundedAmount, w.cancelled.Account.Refunds = 0, 0, nil
	}, i3, "its payment is REFUNDED, so the provider should have"},
	{"a payment that failed was captured", func(w *world) {
		w.parked.row(payments).Payment.Status = moneyFailed
		w.parked.Account = &account{Captures: 1, CapturedAmount: price.Amount, Currency: price.Currency}
	}, i3, "should have taken nothing"},
	{"another amount", func(w *world) { w.paid.Account.CapturedAmount++ }, i3, "captured 2501 EUR"},
	{"another currency", func(w *world) { w.paid.Account.Currency = "SEK" }, i3, "captured 2500 SEK"},
	{"the payment is of another total", func(w *world) {
		w.paid.row(payments).Payment.Total.Amount, w.paid.Account.CapturedAmount = 1, 1
	}, i3, "the order costs 2500 EUR, the payment is of 1 EUR"},
	{"a success is said to be of another amount", func(w *world) {
		w.paid.event(paymentSucceeded).Total.Amount++
		a := w.paid.row(analytics).Analysed // which believes it
		w.sums.stored.plus(sumKey{allTime, sumRevenue, price.Currency}, 1)
		w.sums.stored.plus(sumKey{minuteOf(a.Captured.At), sumRevenue, price.Currency}, 1)
		a.Captured.Total.Amount++
	}, i3, "PaymentSucceeded is of 2501 EUR, the payment of 2500 EUR"},
	{"an order costs something else than its lines", func(w *world) {
		o := w.begun.row(orders).Order
		o.Items = []item{{mug, 2, 1249}}
	}, i3, "its lines come to 2498"},
	{"its lines come to more than fits", func(w *world) {
		o := w.begun.row(orders).Order
		o.Items, o.Total = []item{{mug, math.MaxInt64, 4}}, money{-4, "EUR"}
	}, i3, "its lines come to 36893488147419103228"},
	{"an account nobody asked for", func(w *world) {
		w.begun.Account = &account{Captures: 1, CapturedAmount: 1, Currency: "EUR"}
	}, i3, "the payment service knows nothing of it"},

	{"stock does not add up", func(w *world) { w.level(func(l *level) { l.Available++ }) }, i4, "is not available"},
	{"oversold", func(w *world) { w.level(func(l *level) { l.Available -= 100; l.Restocked -= 100 }); w.restock() }, i4, "oversold"},
	{"more is reserved than reservations say", func(w *world) { w.level(func(l *level) { l.Reserved++; l.Available-- }) }, i4, "the reservations come to 2"},
	{"more is sold than reservations say", func(w *world) { w.level(func(l *level) { l.Sold++; l.Available-- }) }, i4, "3 pieces are sold, the reservations come to 2"},
	{"a restock is lost", func(w *world) { w.level(func(l *level) { l.Restocked -= 5; l.Available -= 5 }) }, i4, "after the last restock in the ledger it was 90 and 10"},
	{"a restock that no ledger knows", func(w *world) { delete(w.sums.restocked, mug) }, i4, "the ledger knows of no restock"},
	{"an article is gone", func(w *world) { delete(w.sums.levels, mug) }, i4, "there is no such article"},
	{"another article is reserved than ordered", func(w *world) {
		w.parked.row(inventory).Stock.Items = []item{{"MUG-BLUE", 2, 1250}}
		w.level(func(l *level) { l.Reserved, l.Available = 0, l.Available+2 })
		w.sums.levels["MUG-BLUE"] = level{Initial: 2, Reserved: 2}
	}, i4, "it ordered [2 MUG-RED], and the reservation is of [2 MUG-BLUE]"},

	{"two events of a topic change places", func(w *world) {
		a, b := w.paid.event(shippingStatus, parcelPreparing), w.paid.event(shippingStatus, parcelShipped)
		a.Offset, b.Offset = b.Offset, a.Offset
	}, i5, "shipping's version 1 comes behind its version 2"},
	{"a version is two events", func(w *world) {
		r := w.paid.says(notificationSent, "shipped", "push")
		r.Version, w.paid.row(notification).Said = 1, w.paid.row(notification).Said-1
		r.Offset = 0 // so that it is in order
	}, i5, "notification's version 1 is two events"},
	{"an event comes again with another content", func(w *world) {
		r := *w.paid.event(inventoryUpdate)
		r.Offset, r.Digest = r.Offset+1, r.Digest+1
		w.paid.Log = append(w.paid.Log, r)
	}, i5, "one event id, and two different contents"},
	{"a copy of an event is in another partition", func(w *world) {
		r := *w.paid.event(inventoryUpdate)
		r.Partition = (r.Partition + 1) % 3
		w.paid.Log = append(w.paid.Log, r)
	}, i5, "the key belongs into partition"},
	{"an event is in another partition", func(w *world) {
		r := w.paid.event(inventoryUpdate)
		r.Partition = (r.Partition + 1) % 3
	}, i5, "the key belongs into partition"},

	{"a message overtook another one", func(w *world) {
		r := w.paid.row(orders)
		a, b := w.paid.event(shippingStatus, parcelShipped).ID, w.paid.event(shippingStatus, parcelDelivered).ID
		i, j := slices.Index(r.Processed, a), slices.Index(r.Processed, b)
		r.Processed[i], r.Processed[j] = b, a
	}, i5, "order processed the first before the second, which came before it"},

	{"no deadline", func(w *world) { w.begun.row(orders).Waiting, w.begun.Waits = nil, nil }, i6, "has no deadline"},
	{"a wait is forgotten", func(w *world) { w.begun.Waits = nil }, i6, `waits for "deadline", and nothing will ever do that`},
	{"an order goes on for ever", func(w *world) {
		w.begun.row(orders).Created -= 3600 * second
		for _, s := range []service{inventory, notification, analytics} {
			w.begun.hears(s, &w.begun.Log[0])
			w.begun.row(s).Created = w.begun.row(orders).Created
		}
		w.begun.row(analytics).Analysed.contribute(w.sums.stored)
	}, i6, `the next that happens to it is "deadline" at order, in 1s: look again then`},
	{"cancelled, and the payment is kept", func(w *world) {
		w.cancelled.row(payments).Payment.Status = moneySucceeded
		w.cancelled.Account.Refunded, w.cancelled.Account.RefundedAmount, w.cancelled.Account.Refunds = 0, 0, nil
	}, i6, "it is CANCELLED, but its payment is SUCCEEDED"},
	{"cancelled, and the stock is kept", func(w *world) {
		w.cancelled.row(inventory).Stock.Status = stockReserved
		w.level(func(l *level) { l.Reserved += 2; l.Available -= 2 })
	}, i6, "it is CANCELLED, but its stock is RESERVED"},
	{"cancelled, and the goods are sent", func(w *world) { w.cancelled.row(shipping).Parcel.Status = parcelShipped }, i6, "it is CANCELLED, but its parcel is SHIPPED"},
	{"cancelled with stock left, and a record that nobody can read was given up", func(w *world) {
		s := w.cancelled
		s.givesUpUnread(s.strange(paymentSucceeded, false))
		s.row(inventory).Stock.Status = stockReserved
		w.level(func(l *level) { l.Reserved += 2; l.Available -= 2 })
	}, i6, "it is CANCELLED, but its stock is RESERVED"},
	{"delivered, and not sent", func(w *world) { w.paid.row(shipping).Parcel.Status = parcelShipped }, i6, "its parcel SHIPPED"},

	{"an event was processed that never was in the log", func(w *world) {
		r := w.paid.row(inventory)
		r.Processed = append(r.Processed, anyID())
	}, i7, "inventory has processed event"},
	{"an event was never published", func(w *world) { w.paid.forget(w.paid.event(inventoryUpdate)) }, i7, "payment said 3 events of it, and version 2 is neither in the log nor in the outbox"},
	{"the last event was never published", func(w *world) { w.paid.forget(w.paid.event(notificationSent, "delivered")) }, i7, "version 2 is neither in the log nor in the outbox"},
	{"an event was never committed", func(w *world) {
		w.paid.says(notificationSent, "shipped", "push")
		w.paid.row(notification).Said--
	}, i7, "it was never committed"},
	{"the outbox has more than the row counts", func(w *world) {
		r := *w.paid.event(shippingStatus, parcelDelivered)
		r.ID, r.Row, r.Version, r.Status, r.Stamp = anyID(), 17, 4, "LOST", now
		w.paid.Unsent = []record{r}
	}, i7, "version 4 is in the outbox"},
	{"a service says what is another's", func(w *world) {
		r := *w.paid.event(notificationSent, "delivered")
		r.ID, r.Offset, r.Source, r.Version = anyID(), r.Offset+1, shipping, 9
		w.paid.Log = append(w.paid.Log, r)
	}, i7, "which only notification may say"},
	{"an outbox row that nobody can read", func(w *world) {
		w.sums.backlogs = make([]backlog, 1)
		w.sums.backlogs[0].unreadable(12, "cut")
	}, i7, "nobody can publish it"},

	{"an offset was committed too early", func(w *world) { w.paid.unhear(inventory, w.paid.event(inventoryUpdate)) }, i8, "inventory has committed the offset behind this InventoryUpdate"},
	{"a message was neither handled nor lettered", func(w *world) {
		w.parked.Letters = w.parked.Letters[:1]
	}, i8, "payment has committed the offset behind this OrderCancelled"},

	{"a message that nobody can read was neither lettered", func(w *world) {
		w.paid.event(notificationSent, "placed").Readable = false
	}, i8, "analytics has committed the offset behind this NotificationSent(placed)"},
	{"nor one whose key is no order's id", func(w *world) {
		r := record{Kind: paymentInitiated, Offset: 9, ID: anyID(), Source: stranger, Stamp: now}
		w.begun.order = &order{ID: r.ID, Log: []record{r}}
	}, i8, "payment has committed the offset behind this PaymentInitiated"},

	{"records were removed before a group had read them", func(w *world) {
		w.look.starts[orderCreated] = map[int32]int64{0: 1000, 1: 1007, 2: 0} // partition 0 was read to its end, and emptied
		w.look.committed[analytics][orderCreated][1] = 1007
		w.look.committed[notification][orderCreated][1] = 1008
	}, i8, "7 records were removed before inventory-service had read them: its offset is 1000, and the log starts at 1007"},
	{"before a group had read any of them", func(w *world) {
		w.look.starts[shippingInitiate] = map[int32]int64{2: 5}
		delete(w.look.committed[shipping][shippingInitiate], 2)
		w.sums.worked[shipping] = now - 3600*second
	}, i8, "5 records were removed before shipping-service had read them: its offset is 0"},

	{"a park mark is lost", func(w *world) { w.parked.row(payments).Parked = false }, i9, "its row is not parked"},
	{"a park mark stays", func(w *world) { w.paid.row(shipping).Parked = true }, i9, "no letter holds it up"},
	{"a lane is lost", func(w *world) { w.parked.Lanes = nil }, i9, "has no lane"},
	{"a lane stays", func(w *world) { w.paid.Lanes = []lane{{shipping, w.paid.ID, true, 0}} }, i9, "nothing in it is open"},
	{"a lane stands still", func(w *world) { w.parked.Letters[0].Status = letterRedriving }, i9, "but the lane stands still"},
	{"a letter has no copy", func(w *world) { w.parked.Copies = nil }, i9, "dlq.payment-service has no copy of it"},
	{"a letter is lost", func(w *world) {
		w.paid.Copies = []letterCopy{{Service: shipping, Letter: anyID(), Stamp: w.paid.at}}
	}, i9, "was published, and is not in the database"},
	{"a letter is resolved and not processed", func(w *world) {
		w.paid.putAside(shipping, w.paid.event(shippingInitiate), letterResolved)
	}, i9, "has not processed the message"},
	{"a letter is restored, resolved, and not processed", func(w *world) {
		w.paid.putAside(shipping, w.paid.event(shippingInitiate), letterResolved)
		w.paid.Letters[0].Touched = true
	}, i9, "has not processed the message"},
	{"a dropped letter may come again", func(w *world) {
		w.paid.putAside(shipping, w.paid.event(shippingInitiate), letterDropped)
	}, i9, "it may come again"},
	{"a message overtook a letter", func(w *world) {
		s := w.paid
		s.putAside(orders, s.event(shippingStatus, parcelShipped), letterNew)
		s.row(orders).Parked = true
		s.Lanes = []lane{{orders, s.ID, true, 0}}
		s.Copies = []letterCopy{{Service: orders, Letter: s.Letters[0].ID, Stamp: s.at}}
	}, i9, "order processed the second although the first"},
	{"a message of another topic overtook a letter", func(w *world) {
		s := w.paid
		s.putAside(orders, s.event(inventoryReserved), letterNew)
		s.row(orders).Parked = true
		s.Lanes = []lane{{orders, s.ID, true, 0}}
		s.Copies = []letterCopy{{Service: orders, Letter: s.Letters[0].ID, Stamp: s.at}}
		s.Letters[0].Recorded = s.event(shippingStatus, parcelDelivered).At - 2*slack
	}, i9, "order processed the second although the first"},
	{"a redrive came behind what waited for it", func(w *world) {
		s := w.paid
		shipped, delivered := s.event(shippingStatus, parcelShipped), s.event(shippingStatus, parcelDelivered)
		s.putAside(orders, shipped, letterResolved)
		s.hears(orders, shipped)
		if r := s.row(orders); slices.Index(r.Processed, shipped.ID) < slices.Index(r.Processed, delivered.ID) {
			panic("it is in order")
		}
	}, i9, "order processed the first before the second"},
	{"messages wait in the wrong order", func(w *world) {
		s := w.paid
		for _, status := range []string{parcelDelivered, parcelShipped} {
			s.putAside(orders, s.event(shippingStatus, status), letterNew)
			s.Copies = append(s.Copies, letterCopy{Service: orders, Letter: s.Letters[len(s.Letters)-1].ID, Stamp: s.at})
		}
		s.row(orders).Parked = true
		s.Lanes = []lane{{orders, s.ID, true, 0}}
	}, i9, "in another order than the log's"},

	{"an event has another correlation id", func(w *world) { w.paid.event(paymentSucceeded).Correlation = "another" }, i11, `PaymentSucceeded has the correlation id "another"`},
	{"a row has none", func(w *world) { w.paid.row(shipping).Correlation = "" }, i11, "its row at shipping"},
	{"nothing has one", func(w *world) {
		for _, r := range w.paid.Rows {
			r.Correlation = ""
		}
		for i := range w.paid.History {
			w.paid.History[i].Correlation = ""
		}
		for i := range w.paid.Log {
			w.paid.Log[i].Correlation = ""
		}
	}, i11, "nothing that is known of it has a correlation id"},
	{"an entry has another", func(w *world) { w.paid.History[2].Correlation = "another" }, i11, "version 3 of its history"},
	{"a letter has another", func(w *world) { w.parked.Letters[0].Correlation = "another" }, i11, "a letter has"},

	{"a row remembers too much", func(w *world) { w.paid.row(orders).Commands = 257 }, i12, "remembers 257"},
	{"the outbox is too full", func(w *world) {
		w.sums.backlogs = []backlog{{database: "shop", rows: 200}, {database: "stock", rows: 201}}
	}, i12, "the outbox of database stock has 201 rows"},

	{"analytics counted an order twice", func(w *world) { w.sums.stored.plus(sumKey{allTime, sumPlaced, ""}, 1) }, i13, `"placed"  in all: analytics says 4, the orders add up to 3`},
	{"a minute is wrong", func(w *world) {
		w.sums.stored.plus(sumKey{minuteOf(w.paid.at), sumRevenue, "EUR"}, -1)
	}, i13, "in the minute of"},
	{"analytics heard something else", func(w *world) { w.paid.row(analytics).Analysed.Paid.At -= 3 }, i13, "by the log it would be paid at"},
	{"analytics heard another amount", func(w *world) { w.paid.row(analytics).Analysed.Captured.Total.Amount = 7 }, i13, "by the log it would be captured 2500 EUR, and is 7 EUR"},

	{"analytics heard another reason", func(w *world) {
		a := w.cancelled.row(analytics).Analysed
		w.sums.stored.plus(sumKey{allTime, sumCancelled, a.Reason}, -1)
		w.sums.stored.plus(sumKey{minuteOf(a.Cancelled.At), sumCancelled, a.Reason}, -1)
		a.Reason = "DEADLINE"
		w.sums.stored.plus(sumKey{allTime, sumCancelled, a.Reason}, 1)
		w.sums.stored.plus(sumKey{minuteOf(a.Cancelled.At), sumCancelled, a.Reason}, 1)
	}, i13, "cancelled for CUSTOMER, and is for DEADLINE"},
	{"analytics has forgotten an order", func(w *world) {
		*w.paid.row(analytics).Analysed = analysed{}
	}, i13, "and is never"},
	{"analytics has a sum of nothing", func(w *world) { w.sums.stored.plus(sumKey{allTime, sumRevenue, "SEK"}, 5) }, i13, "analytics says 5, the orders add up to 0"},

	{"a history has a gap", func(w *world) { w.paid.History = slices.Delete(w.paid.History, 2, 3) }, ih, "entry 3 of its history has the version 4"},
	{"a history has lost its end", func(w *world) { w.paid.History = w.paid.History[:5] }, ih, "its history has 5 entries"},
	{"a history without a row", func(w *world) {
		w.begun.order = &order{ID: anyID(), History: []entry{{Version: 1, Type: factStockReserved}}}
	}, ih, "and no row"},
	{"a history with an impossible step", func(w *world) {
		w.paid.row(orders).Order.Status = statusDelivered
		for i := range w.paid.History {
			if f := &w.paid.History[i].Fact; f.Status == statusShipped && f.Previous == statusPaid {
				f.Status = statusDelivered
			}
		}
	}, ih, "goes from PAID to DELIVERED"},
	{"a row is not what its history says", func(w *world) { w.paid.row(orders).Order.Reason = "CUSTOMER" }, ih, "reason not begun, the row has CUSTOMER"},
	{"a row has another status", func(w *world) {
		w.parked.row(orders).Order.Status, w.parked.row(orders).Column = statusPaid, statusPaid
	}, ih, "status CANCELLING, the row has PAID"},
	{"a row knows of other stock", func(w *world) { w.paid.row(orders).Order.Stock.Released = true }, ih, "what inventory has said"},
	{"a row knows of other money", func(w *world) { w.paid.row(orders).Order.Money.Pending = true }, ih, "what payment has said"},
	{"a row knows of another parcel", func(w *world) { w.paid.row(orders).Order.Parcel = nil }, ih, "where the parcel was"},
	{"a row counts other events than its history", func(w *world) {
		r := *w.paid.event(orderStatusUpdated, statusDelivered)
		r.ID, r.Offset, r.Version, r.Status = anyID(), r.Offset+1, r.Version+1, statusCancelling // as the row counts, so it is in the log
		w.paid.Log = append(w.paid.Log, r)
		w.paid.row(orders).Said++
	}, ih, "by its history it said 6 events, its row counts 7"},
	{"a row was placed otherwise", func(w *world) { w.paid.row(orders).Order.Placed = 8 }, ih, "what was ordered"},
	{"a list shows another status", func(w *world) { w.paid.row(orders).Column = statusPaid }, ih, "lists show it as"},
	{"an entry that nobody knows", func(w *world) { w.paid.History[1].Type = "Invented" }, ih, "is a Invented, which is not known"},
	{"an entry that nobody can read", func(w *world) { w.paid.History[1].Fact.Unreadable = "cut" }, ih, "is not readable: cut"},
}

// Each damage is found, named with its order, and nothing else is.
func TestEachDamageIsFoundAndNothingElse(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld()
			d.do(w)
			f := w.check()
			if got := violated(f); !slices.Equal(got, []string{d.want}) {
				t.Errorf("violated: %v, want %s alone\n%s", got, d.want, f.text())
			}
			if !strings.Contains(f.text(), d.says) {
				t.Errorf("nothing says %q:\n%s", d.says, f.text())
			}
		})
	}
}

// Every invariant that data can show is shown to be checked.
func TestEachInvariantHasADamage(t *testing.T) {
	for _, p := range promises {
		if p.of != "" && !slices.ContainsFunc(damages, func(d damage) bool { return d.want == p.id }) {
			t.Errorf("%s has no damage that turns it red", p.id)
		}
	}
}

// A database that lost an order's row violates all that hangs on it.
func TestALostRowIsALostOrder(t *testing.T) {
	w := newWorld()
	w.paid.Rows[orders], w.paid.History = nil, nil
	f := w.check()
	if !slices.Contains(violated(f), i1) || !strings.Contains(f.text(), "its OrderCreated was said, and there is no such order") {
		t.Errorf("%v\n%s", violated(f), f.text())
	}
}
