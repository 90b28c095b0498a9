package notification

import (
	"fmt"
	"math/big"
	"strings"

	"millrace/event"
)

// render writes a notice in the words the customer reads. It uses what the row
// knows when the notice goes out, which may be more than when it was heard of.
func render(o Order, kind event.NoticeKind) (subject, text string) {
	switch kind {
	case event.NoticePlaced:
		return "We have your order",
			fmt.Sprintf("Thank you. Your order %s over %s has been placed.", o.ID, formatMoney(o.Total))
	case event.NoticePending:
		return "Your payment is being checked",
			fmt.Sprintf("The payment for your order %s is not confirmed yet. We will write again as soon as it is.", o.ID)
	case event.NoticePaid:
		return "Your payment has arrived",
			fmt.Sprintf("We have received %s for your order %s.", formatMoney(o.Total), o.ID)
	case event.NoticePaymentFailed:
		if o.FailureReason == event.FailedExpired {
			return "Your payment was not confirmed in time",
				fmt.Sprintf("The payment for your order %s was not confirmed in time. Nothing has been charged.", o.ID)
		}
		return "Your payment was declined",
			fmt.Sprintf("The payment for your order %s was declined. Nothing has been charged.", o.ID)
	case event.NoticePreparing:
		return "Your order is being packed",
			fmt.Sprintf("We are packing your order %s.", o.ID)
	case event.NoticeShipped:
		return "Your order is on its way",
			fmt.Sprintf("Your order %s is on its way%s.", o.ID, tracking(o))
	case event.NoticeDelivered:
		return "Your order has arrived",
			fmt.Sprintf("Your order %s has been delivered.", o.ID)
	case event.NoticeCancelled:
		return "Your order is cancelled",
			fmt.Sprintf("Your order %s is cancelled%s.", o.ID, because(o.CancelReason))
	case event.NoticeNeedsAttention:
		return "We are looking into your order",
			fmt.Sprintf("Something about your order %s needs a person to look at it. You need not do anything.", o.ID)
	case event.NoticeRefunded:
		return "Your money is on its way back",
			fmt.Sprintf("We have refunded %s for your order %s.", formatMoney(o.Total), o.ID)
	}
	// A kind written by a newer version of this program: say what is certain.
	return "News about your order", fmt.Sprintf("There is news about your order %s: %s.", o.ID, kind)
}

func tracking(o Order) string {
	switch {
	case o.TrackingNumber == "":
		return ""
	case o.Carrier == "":
		return " (tracking number " + o.TrackingNumber + ")"
	}
	return " with " + o.Carrier + " (tracking number " + o.TrackingNumber + ")"
}

func because(reason event.CancelReason) string {
	switch reason {
	case event.ReasonOutOfStock:
		return ", because something in it is out of stock"
	case event.ReasonPaymentFailed:
		return ", because it could not be paid"
	case event.ReasonCustomer:
		return ", as you asked"
	case event.ReasonDeadline:
		return ", because it could not be completed in time"
	case event.ReasonShipmentFailed:
		return ", because it could not be delivered"
	}
	return ""
}

// Most currencies have two decimals (ISO 4217). These are the others.
var decimals = map[string]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
	"UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"CLF": 4, "UYW": 4,
}

const usualDecimals = 2

// formatMoney writes "25.00 EUR". It works on digits, so that no amount is rounded.
func formatMoney(m event.Money) string {
	n, listed := decimals[m.Currency]
	if !listed {
		n = usualDecimals
	}
	sign := ""
	if m.Amount < 0 {
		sign = "-"
	}
	digits := new(big.Int).Abs(big.NewInt(m.Amount)).String()
	if n > 0 {
		if len(digits) <= n {
			digits = strings.Repeat("0", n+1-len(digits)) + digits
		}
		digits = digits[:len(digits)-n] + "." + digits[len(digits)-n:]
	}
	return strings.TrimRight(sign+digits+" "+m.Currency, " ")
}
