package verify

import (
	"fmt"
	"slices"

	"millrace/verify/spill"
)

// letter is a message that was put aside: a dead letter, or one that waits behind it.
type letter struct {
	ID      id
	Service service
	// Ordered: it is known to be about the order its key names, so others wait behind it.
	Ordered     bool
	Message     id
	Correlation string
	Topic       string
	Partition   int32
	Offset      int64
	Status      string
	Position    int64
	Lane        id
	// Touched: somebody gave it another body, restored it, or brought it from elsewhere.
	Touched bool
	// Ignored: its service does nothing with what it says, so its row shows nothing of it.
	Ignored bool
	// Recorded is when it was put aside.
	Recorded int64
}

// Code codes the fields.
func (l *letter) Code(c *spill.Coder) {
	c.ID((*[16]byte)(&l.ID))
	spill.Number(c, &l.Service)
	c.Flags(&l.Ordered, &l.Touched, &l.Ignored)
	c.ID((*[16]byte)(&l.Message))
	c.Text(&l.Correlation)
	c.Name(&l.Topic)
	spill.Number(c, &l.Partition)
	spill.Number(c, &l.Offset)
	c.Name(&l.Status)
	spill.Number(c, &l.Position)
	c.ID((*[16]byte)(&l.Lane))
	spill.Number(c, &l.Recorded)
}

// The states of a letter.
const (
	letterParked    = "parked"
	letterRetrying  = "retrying"
	letterNew       = "new"
	letterRedriving = "redriving"
	letterResolved  = "resolved"
	letterDropped   = "dropped"
)

// open tells whether others wait behind it.
func (l *letter) open() bool {
	return slices.Contains([]string{letterParked, letterRetrying, letterNew, letterRedriving}, l.Status)
}

func (l *letter) where() string {
	return fmt.Sprintf("letter %s (%s, %s, %s/%d@%d)", l.ID, l.Service, l.Status, l.Topic, l.Partition, l.Offset)
}

// lane is what waits for a letter: an order at a service, or the letter alone.
type lane struct {
	Service service
	ID      id
	Ordered bool
	// Due is when it goes on by itself, or, where somebody is at it, until when that is sure, in microseconds; 0: it waits for somebody.
	Due int64
}

// Code codes the fields.
func (l *lane) Code(c *spill.Coder) {
	spill.Number(c, &l.Service)
	c.ID((*[16]byte)(&l.ID))
	c.Flags(&l.Ordered)
	spill.Number(c, &l.Due)
}

// letterCopy is a letter's copy in dlq.<group>, or on its way there.
type letterCopy struct {
	Service   service
	Letter    id
	Partition int32
	Offset    int64
	// Row is the outbox row's number; 0 for a copy in the log.
	Row   int64
	Stamp int64
}

// Code codes the fields.
func (l *letterCopy) Code(c *spill.Coder) {
	spill.Number(c, &l.Service)
	c.ID((*[16]byte)(&l.Letter))
	spill.Number(c, &l.Partition)
	spill.Number(c, &l.Offset)
	spill.Number(c, &l.Row)
	spill.Number(c, &l.Stamp)
}

func (l *letterCopy) where() string {
	if l.Row != 0 {
		return fmt.Sprintf("outbox row %d (%s)", l.Row, l.Service.letterTopic())
	}
	return fmt.Sprintf("%s/%d@%d", l.Service.letterTopic(), l.Partition, l.Offset)
}

// decided tells that somebody decided about the order at a service, with a letter that is not kept any more.
type decided struct{ Service service }

// Code codes the field.
func (d *decided) Code(c *spill.Coder) { spill.Number(c, &d.Service) }
