package order

import "millrace/event"

// Says returns what is published when the fact happens to the order as it stood
// before. It depends on nothing else, so a history tells what was said.
func Says(before Order, fact Fact) []event.Event {
	switch f := fact.(type) {
	case Placed:
		return []event.Event{event.OrderCreated{
			OrderID: before.ID, CustomerID: f.CustomerID, Items: f.Items, Total: f.Total,
			PaymentMethod: f.PaymentMethod, ShippingAddress: f.ShippingAddress, Contact: f.Contact,
		}}
	case StatusChanged:
		return append(orders(before, f), event.OrderStatusUpdated{
			OrderID: before.ID, Status: f.Status, Previous: f.Previous, Reason: f.Reason,
		})
	}
	return nil
}

// orders is what the others are told to do when an order enters a status.
func orders(before Order, f StatusChanged) []event.Event {
	switch f.Status {
	case event.OrderAwaiting:
		return []event.Event{event.PaymentInitiated{
			OrderID: before.ID, CustomerID: before.CustomerID, Items: before.Items, Total: before.Total,
			PaymentMethod: before.PaymentMethod, ShippingAddress: before.ShippingAddress,
		}}
	case event.OrderCancelling:
		return []event.Event{event.OrderCancelled{OrderID: before.ID, Reason: f.Reason}}
	}
	return nil
}
