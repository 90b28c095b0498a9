package memory

import (
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
)

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// record is a published record where it lies.
type record struct {
	transport.Record
	place  place
	offset int64
	time   time.Time
}

// Message implements perkey.Record.
func (r *record) Message() *message.Message {
	return transport.Decode(r.Topic, r.place.partition, r.offset, r.Value, r.Headers)
}

// log is the records of a partition. A record's offset is its index.
type log struct {
	place place

	mu      sync.Mutex
	records []*record
	grown   chan struct{} // closed at the next append
}

func newLog(at place) *log { return &log{place: at, grown: make(chan struct{})} }

func (l *log) append(r transport.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, &record{Record: r, place: l.place, offset: int64(len(l.records)), time: time.Now()})
	close(l.grown)
	l.grown = make(chan struct{})
}

// at returns the record at an offset, or a channel that is closed when there may be one.
func (l *log) at(offset int64) (*record, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset < int64(len(l.records)) {
		return l.records[offset], nil
	}
	return nil, l.grown
}

// after tells how many records lie from an offset on, and the time of the first.
func (l *log) after(offset int64) (int64, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(len(l.records)) - offset
	if n <= 0 {
		return 0, time.Time{}
	}
	return n, l.records[offset].time
}
