package outbox

import (
	"time"

	"millrace/event"
)

// claimLease is how long a claimed wait belongs to whoever claimed it. It is longer
// than any call to the outside may take; a crashed owner's claim is due again when it is over.
const claimLease = 30 * time.Second

// Claim is one due wait, taken by one executor.
type Claim[S any] struct {
	OrderID event.OrderID
	Step    string
	// Attempt counts from 1.
	Attempt int
	// Since is when the wait first became due.
	Since time.Time
	// CorrelationID is the order's.
	CorrelationID string
	// Row is the state as it was committed when the wait was claimed.
	Row S
}
