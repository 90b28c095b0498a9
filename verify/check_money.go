package verify

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// checkMoney is I3: what the payment service believes of an order's money is what the provider's
// book says, and what the order costs. The two are in one database and so in one snapshot; only a
// payment that waits for an answer may be behind the book.
func checkMoney(o *order, l *look, s *sums, f *findings) {
	o.costsWhatItsLinesDo(f)
	if !l.has(payments) || !l.provider {
		return
	}
	p, book := o.Rows[payments], o.Account
	if p == nil && book == nil || p != nil && p.Unreadable != "" {
		return
	}
	if book == nil {
		book = &account{}
	}
	f.checked(i3, 1)
	sum := s.in(book.currency(p))
	sum.Captured += book.CapturedAmount
	sum.Refunded += book.RefundedAmount
	kept := book.CapturedAmount - book.RefundedAmount
	if p == nil {
		f.wrong(i3, o, nil, "the provider has an account of it, and the payment service knows nothing of it")
		return
	}
	o.costsTheSame(p, f)
	if len(p.Waiting) > 0 || slices.Contains([]string{"CHARGING", "PENDING", "VOIDING", "REFUNDING"}, p.Payment.Status) {
		sum.UnderWay += kept
		return
	}
	if book.Captures > 1 || book.Refunded > book.Captures { // that is I2's, and named there
		sum.Kept += kept
		return
	}
	want := wanted(p.Payment, book)
	sum.Kept += want.kept()
	if *want != book.moved() {
		f.wrong(i3, o, nil, "its payment is %s, so the provider should have %s, and has %s", shown(p.Payment.Status), want, book.moved())
	}
}

// moved is how often, and how much, money went to and fro.
type moved struct {
	captures, refunds  int64
	captured, refunded money
}

func (m moved) kept() int64 { return m.captured.Amount - m.refunded.Amount }

func (m moved) String() string {
	if m.captures == 0 && m.refunds == 0 {
		return "taken nothing"
	}
	return fmt.Sprintf("captured %s (%d times) and refunded %s (%d times)", m.captured, m.captures, m.refunded, m.refunds)
}

func (a *account) moved() moved {
	m := moved{captures: a.Captures, refunds: a.Refunded}
	if a.Captures > 0 {
		m.captured = money{a.CapturedAmount, a.Currency}
	}
	if a.Refunded > 0 {
		m.refunded = money{a.RefundedAmount, a.Currency}
	}
	return m
}

func (a *account) currency(p *row) string {
	if a.Currency == "" && p != nil {
		return p.Payment.Total.Currency
	}
	return a.Currency
}

// wanted is what the book must say of a payment that waits for nothing. A refund that was refused may
// have been settled in another way, as an operator's note says: the book does not know of that.
func wanted(p *paymentState, book *account) *moved {
	captured := &moved{captures: 1, captured: p.Total}
	switch p.Status {
	case moneySucceeded, moneyRefundFailed:
		return captured
	case moneyRefunded:
		if p.Refund.Note == "" || book.Refunded > 0 {
			captured.refunds, captured.refunded = 1, p.Total
		}
		return captured
	}
	return &moved{}
}

// costsWhatItsLinesDo adds up what was ordered, without bounds.
func (o *order) costsWhatItsLinesDo(f *findings) {
	if !o.placed() {
		return
	}
	state, sum := o.Rows[orders].Order, new(big.Int)
	for _, line := range state.Items {
		sum.Add(sum, new(big.Int).Mul(big.NewInt(line.Quantity), big.NewInt(line.UnitPrice)))
	}
	if sum.Cmp(big.NewInt(state.Total.Amount)) != 0 {
		f.wrong(i3, o, nil, "its total is %s, and its lines come to %s", state.Total, sum)
	}
}

// costsTheSame compares the payment with the order, and with what was said of it.
func (o *order) costsTheSame(p *row, f *findings) {
	if !o.placed() || p.Payment.Status == "" {
		return
	}
	if o.foreign(core...) || o.meddled(payments) {
		f.exempt(i3)
		return
	}
	if total := o.Rows[orders].Order.Total; total != p.Payment.Total {
		f.wrong(i3, o, nil, "the order costs %s, the payment is of %s", total, p.Payment.Total)
	}
	for _, r := range o.events {
		if slices.Contains([]kind{paymentSucceeded, paymentRefunded, paymentRefundFailed}, r.Kind) && r.ours() && r.Total != p.Payment.Total {
			f.wrong(i3, o, places(r), "%s is of %s, the payment of %s", r.what(), r.Total, p.Payment.Total)
		}
	}
}

func shown(status string) string {
	if status == "" {
		return "not begun"
	}
	return status
}

// checkMoneySums closes the books: by currency, what the provider has kept is what the payments say,
// and what is on its way.
func checkMoneySums(s *sums, f *findings) (notes []string) {
	for _, currency := range slices.Sorted(maps.Keys(s.money)) {
		m := s.money[currency]
		if *m == (moneySum{}) {
			continue
		}
		f.checked(i3, 1)
		if m.Captured-m.Refunded != m.Kept+m.UnderWay {
			f.wrong(i3, nil, nil, "%s: captured %d - refunded %d is not what payments keep, %d, and what is under way, %d",
				currency, m.Captured, m.Refunded, m.Kept, m.UnderWay)
		}
		notes = append(notes, strings.TrimSpace(fmt.Sprintf("%s: captured %d, refunded %d, kept %d, under way %d",
			currency, m.Captured, m.Refunded, m.Kept, m.UnderWay)))
	}
	return notes
}
