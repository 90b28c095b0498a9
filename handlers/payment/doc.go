// Package payment takes the money for an order, or sees to it that none is kept.
//
// Owns: one Payment row per order. The row alone decides about the money.
//
// Hears: PaymentInitiated, OrderCancelled; the provider's callback and an
// operator's word on a refused refund come as commands.
//
// Says: PaymentPending, PaymentSucceeded with InventoryUpdate and
// ShippingInitiate, PaymentFailed, PaymentRefunded, PaymentRefundFailed. Per order
// it says either PaymentFailed or {InventoryUpdate, ShippingInitiate}, once, and
// never both: stock and parcel follow that word, so it is only said when the
// provider has told for certain where the money is. As long as nobody knows, the
// provider is asked again, with the same key.
//
// Not promised: that a cancelled payment was never captured. Where the capture wins
// the race, the money goes back by a refund.
package payment
