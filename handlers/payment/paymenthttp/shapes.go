package paymenthttp

import (
	"millrace/event"
	"millrace/handlers/payment"
)

// Payment answers GET /payments/{orderId}.
type Payment struct {
	OrderID     event.OrderID       `json:"orderId" format:"uuid"`
	Status      payment.Status      `json:"status" enum:"INITIATED,CHARGING,PENDING,UNKNOWN,SUCCEEDED,FAILED,VOIDING,REFUNDING,REFUNDED,REFUND_FAILED" doc:"UNKNOWN: the provider was asked more than once and has not answered."`
	Amount      int64               `json:"amount" doc:"In minor units, such as cents."`
	Currency    string              `json:"currency" doc:"ISO 4217."`
	Attempts    int                 `json:"attempts" doc:"Calls that the step under way has taken so far, or the last one took."`
	ProviderRef string              `json:"providerRef" doc:"The provider's name for the charge; empty until it is known."`
	Reason      event.FailureReason `json:"reason,omitempty" doc:"Why it failed: DECLINED, EXPIRED or CANCELLED."`
	Message     string              `json:"message,omitempty" doc:"The same in words."`
	Refund      *Refund             `json:"refund,omitempty" doc:"There if captured money is to go back, or went back."`
}

// Refund is the way back of captured money.
type Refund struct {
	Number      int    `json:"number" doc:"Which refund this is; an operator's retry is the next one."`
	ProviderRef string `json:"providerRef,omitempty" doc:"The provider's name for the refund."`
	Message     string `json:"message,omitempty" doc:"Why the provider refused it."`
	Note        string `json:"note,omitempty" doc:"What the operator wrote."`
}

func shape(v payment.View) Payment {
	p := Payment{
		OrderID: v.ID, Status: v.Shown(), Amount: v.Total.Amount, Currency: v.Total.Currency,
		Attempts: v.Calls(), ProviderRef: v.ProviderRef, Reason: v.Reason, Message: v.Message,
	}
	if v.Refund.Number > 0 {
		p.Refund = &Refund{
			Number: v.Refund.Number, ProviderRef: v.Refund.ProviderRef,
			Message: v.Refund.Message, Note: v.Refund.Note,
		}
	}
	return p
}

// Callback is the body of POST /payments/callback. Fields that providers may add
// are refused like all unknown ones: an adapter for another provider translates.
type Callback struct {
	OrderID     string `json:"orderId" doc:"The order's id, a UUID in lower case."`
	EventID     string `json:"eventId" minLength:"1" maxLength:"200" doc:"The provider's id of this event."`
	Status      string `json:"status" enum:"captured,declined"`
	ProviderRef string `json:"providerRef" minLength:"1" maxLength:"200" doc:"The provider's name for the charge."`
}

// Resolution is the body of POST /payments/{orderId}/refund.
type Resolution struct {
	Action string `json:"action" enum:"retry,settled"`
	Note   string `json:"note" minLength:"1" maxLength:"500" doc:"Why, for those who look later."`
}
