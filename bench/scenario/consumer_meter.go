package scenario

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// meter counts what is finished, and takes the time from the first beginning to the last end.
// Joining a group, which takes some seconds or none, is so left out on both sides.
type meter struct {
	target int64 // when to be satisfied
	begun  atomic.Int64
	ended  atomic.Int64 // of the last one that counts
	count  atomic.Int64
	enough chan struct{}
	once   sync.Once
}

func newMeter(target int) *meter { return &meter{target: int64(target), enough: make(chan struct{})} }

// begin takes the time of the first call.
func (m *meter) begin() { m.begun.CompareAndSwap(0, time.Now().UnixNano()) }

// done counts n more. What comes after the target is not counted.
func (m *meter) done(n int) {
	now := time.Now().UnixNano()
	if m.count.Add(int64(n)) < m.target {
		return
	}
	m.once.Do(func() {
		m.ended.Store(now)
		close(m.enough)
	})
}

// handle is a Watermill middleware that counts the messages whose handler succeeded.
func (m *meter) handle(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		m.begin()
		out, err := next(msg)
		if err == nil {
			m.done(1)
		}
		return out, err
	}
}

// startPatience is how long the first message may take: a group's first join is some seconds long.
const startPatience = 30 * time.Second

// start is a Watermill middleware that takes the time of the first message, and counts none.
func (m *meter) start(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		m.begin()
		return next(msg)
	}
}

// patience is how long our own side may take, which is not stopped early: less means that it hangs.
const patience = 3 * time.Minute

// await waits for the target, or for limit from the first beginning on. It fails when ctx ends, when failed
// has something, and when nothing begins.
func (m *meter) await(ctx context.Context, limit time.Duration, failed <-chan error) (measured, error) {
	poll := time.NewTicker(10 * time.Millisecond) // the limit needs no more precision
	defer poll.Stop()
	for asked := time.Now(); ; {
		select {
		case <-m.enough:
			span := time.Duration(m.ended.Load() - m.begun.Load())
			return measured{count: m.target, span: span, whole: true}, nil
		case err := <-failed:
			return measured{}, err
		case <-ctx.Done():
			return measured{}, ctx.Err()
		case <-poll.C:
		}
		begun := m.begun.Load()
		if begun == 0 && time.Since(asked) > startPatience {
			return measured{}, fmt.Errorf("nothing began within %s", startPatience)
		}
		if span := time.Duration(time.Now().UnixNano() - begun); begun != 0 && span >= limit {
			return measured{count: m.count.Load(), span: span}, nil
		}
	}
}

// measured is what a meter found.
type measured struct {
	count int64
	span  time.Duration
	whole bool // the target was reached within the limit
}

func (m measured) perSecond() float64 { return float64(m.count) / m.span.Seconds() }
