// Package fault names mistakes that can be built into the system on purpose, to see that router verify
// finds them. An ordinary build has none: On is false there whatever it is asked, and what hangs on it is
// not compiled. A build with the tag "faults" makes the one that MILLRACE_FAULT names.
package fault

// The mistakes. Each is asked for where it would be made.
const (
	// SkipProcessed does not look whether a cause was processed already.
	SkipProcessed = "skip-processed"
	// SkipStale writes over a row that somebody else has changed since it was read, and never locks it.
	SkipStale = "skip-stale"
	// PublishEarly publishes a transaction's events before it commits.
	PublishEarly = "publish-early"
	// DeleteRefused deletes events from the outbox that the broker refused.
	DeleteRefused = "delete-refused"
	// CommitEarly commits the offsets of messages that are not processed yet.
	CommitEarly = "commit-early"
	// DropRefund says that a refund was made, and does not make it.
	DropRefund = "drop-refund"
	// ChargeTwice charges a second time, under another key.
	ChargeTwice = "charge-twice"
	// SwapEvents publishes two events of an order in the wrong order.
	SwapEvents = "swap-events"
	// Overtake lets messages of one order pass each other on their way to a handler.
	Overtake = "let-overtake"
	// LoseMark writes a dead letter without the mark that holds its order up.
	LoseMark = "lose-mark"
	// CountTwice counts in analytics' sums twice.
	CountTwice = "count-twice"
	// ForgetCorrelation gives each step of an order a correlation id of its own.
	ForgetCorrelation = "forget-correlation"
	// KeepStock reserves and sells, and takes nothing off the shelf. The database would refuse that; its check has to go.
	KeepStock = "keep-stock"
	// LoseOrder accepts an order and commits nothing.
	LoseOrder = "lose-order"
	// LoseWait commits a row that waits for a call or a deadline, and not the wait.
	LoseWait = "lose-wait"
	// LoseHistory changes an order, and writes nothing into its history.
	LoseHistory = "lose-history"
	// RememberAll never forgets a request.
	RememberAll = "remember-all"
)
