package embedded

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// longestAnswer bounds how long a connection is kept for an answer that nobody waits for any more. The longest is
// that to who joins a group: it comes when all members have, or when the time that they ask for is over, ten seconds
// with a router. To some requests none comes.
const longestAnswer = time.Minute

// KafkaListener is l as a kfake broker needs it. A member that goes away while it waits to join a group stays a member
// for ever: the broker starts to watch for its heartbeats when it has been answered, and an answer that finds no
// connection does not count. Its partitions are nobody's then. So the broker hears that a client is gone only when that
// has been answered, as a Kafka does that waits for a session to run out.
func KafkaListener(l net.Listener) net.Listener { return answeringListener{l} }

type answeringListener struct{ net.Listener }

func (l answeringListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &answeringConn{Conn: c, answered: make(chan struct{}, 1), closed: make(chan struct{})}, nil
}

// answeringConn holds the end of what it reads back until all that it has read was answered.
type answeringConn struct {
	net.Conn
	open     atomic.Int64 // requests without an answer
	answered chan struct{}
	closed   chan struct{}
	closing  sync.Once

	// Where Read, of which there is one at a time, is within a request.
	length []byte
	rest   int
}

func (c *answeringConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.count(b[:n])
	if err != nil {
		c.awaitAnswers()
	}
	return n, err
}

// count counts requests: four bytes with a length, and as many more.
func (c *answeringConn) count(b []byte) {
	const lengthBytes = 4
	for len(b) > 0 {
		if c.rest == 0 {
			n := min(lengthBytes-len(c.length), len(b))
			c.length, b = append(c.length, b[:n]...), b[n:]
			if len(c.length) == lengthBytes {
				c.rest, c.length = int(binary.BigEndian.Uint32(c.length)), c.length[:0]
			}
			continue
		}
		n := min(c.rest, len(b))
		c.rest, b = c.rest-n, b[n:]
		if c.rest == 0 {
			c.open.Add(1)
		}
	}
}

// Write is one answer: the broker writes each at once.
func (c *answeringConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.open.Add(-1)
	select {
	case c.answered <- struct{}{}:
	default:
	}
	return n, err
}

func (c *answeringConn) awaitAnswers() {
	patience := time.NewTimer(longestAnswer)
	defer patience.Stop()
	for c.open.Load() > 0 {
		select {
		case <-c.answered:
		case <-c.closed:
			return
		case <-patience.C:
			return
		}
	}
}

func (c *answeringConn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
