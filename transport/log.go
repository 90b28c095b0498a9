package transport

import (
	"errors"
	"fmt"
	"time"
)

// ErrNoRecord is the error for a place in a log where nothing lies, or no longer.
var ErrNoRecord = errors.New("there is no such record: it was never written, or the topic no longer keeps it")

// LogRecord is a record as it lies in a log.
type LogRecord struct {
	Record
	Partition int32
	Offset    int64
	// Time is the record's timestamp: the broker's or the producer's, as its topic has it.
	Time time.Time
}

// Place names where the record lies, as in orders/2@17.
func (r LogRecord) Place() string { return fmt.Sprintf("%s/%d@%d", r.Topic, r.Partition, r.Offset) }
