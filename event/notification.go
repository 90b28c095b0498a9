package event

// What the notification service says.

// NoticeKind is what a customer is told. docs/flow.md has the table that says which event is
// which kind, so that nobody is told one thing twice.
type NoticeKind string

// The kinds of notice.
const (
	NoticePlaced         NoticeKind = "placed"
	NoticePending        NoticeKind = "pending"
	NoticePaid           NoticeKind = "paid"
	NoticePaymentFailed  NoticeKind = "payment failed"
	NoticePreparing      NoticeKind = "preparing"
	NoticeShipped        NoticeKind = "shipped"
	NoticeDelivered      NoticeKind = "delivered"
	NoticeCancelled      NoticeKind = "cancelled"
	NoticeNeedsAttention NoticeKind = "needs attention"
	NoticeRefunded       NoticeKind = "refunded"
)

// Channel is a way to reach a customer.
type Channel string

// The channels.
const (
	ChannelEmail Channel = "email"
	ChannelSMS   Channel = "sms"
	ChannelPush  Channel = "push"
)

// NotificationSent says one notice went out on one channel.
type NotificationSent struct {
	OrderID        OrderID    `json:"orderId"`
	Kind           NoticeKind `json:"kind"`
	Channel        Channel    `json:"channel"`
	NotificationID string     `json:"notificationId"`
}

// Key is the order's id.
func (e NotificationSent) Key() OrderID { return e.OrderID }
