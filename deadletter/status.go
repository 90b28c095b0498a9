package deadletter

// Status is what a message that was put aside is waiting for.
type Status string

const (
	// Parked waits behind a letter of its order. It has not failed itself.
	Parked Status = "parked"
	// Retrying is tried again by itself, when its time has come.
	Retrying Status = "retrying"
	// New has failed, and waits for somebody to look at it.
	New Status = "new"
	// Redriving has been asked for, and is tried again as soon as its turn has come.
	Redriving Status = "redriving"
	// Resolved was processed by a redrive.
	Resolved Status = "resolved"
	// Dropped was given up by somebody. It counts as processed.
	Dropped Status = "dropped"

	// Known is no status of a letter but an answer of Put and Behind: the message was put aside before.
	Known Status = "known"
)

// Letters are the statuses of letters: all but that of what is only parked.
func Letters() []Status { return []Status{New, Retrying, Redriving, Resolved, Dropped} }

// Open tells whether others wait behind it.
func (s Status) Open() bool { return s == Parked || s == Retrying || s == New || s == Redriving }

// open is the same in SQL, as the partial index on letters has it.
const open = "status IN ('parked', 'retrying', 'new', 'redriving')"
