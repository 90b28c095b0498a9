package rig

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// chunk is how much is read from a connection at once.
	chunk = 64 << 10
	// inFlight is how many chunks may be under way on one connection: more than any of the clients here
	// sends before it waits for an answer, so that only time is added, and no limit to the throughput.
	inFlight = 1024
)

// delayedListener gives out connections that deliver what they receive later by delay. The answer
// goes its way at once: a round trip takes delay longer.
type delayedListener struct {
	net.Listener
	delay time.Duration
}

func (l delayedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d := &delayedConn{Conn: c, arrived: make(chan piece, inFlight), closed: make(chan struct{})}
	go d.receive(l.delay)
	return d, nil
}

// piece is what was received at once, or why nothing more will be.
type piece struct {
	due  time.Time
	data []byte
	err  error
}

type delayedConn struct {
	net.Conn
	arrived chan piece
	first   piece // of which a part may have been read
	closed  chan struct{}
	closing sync.Once
}

func (c *delayedConn) receive(delay time.Duration) {
	for {
		data := make([]byte, chunk)
		n, err := c.Conn.Read(data)
		select {
		case c.arrived <- piece{time.Now().Add(delay), data[:n], err}:
		case <-c.closed:
			return
		}
		if err != nil {
			return
		}
	}
}

// Read waits until what was received is due. Deadlines for reading have no effect; nobody here sets any.
func (c *delayedConn) Read(b []byte) (int, error) {
	if len(c.first.data) == 0 {
		if c.first.err != nil {
			return 0, c.first.err
		}
		select {
		case c.first = <-c.arrived:
		case <-c.closed:
			return 0, net.ErrClosed
		}
		time.Sleep(time.Until(c.first.due))
	}
	n := copy(b, c.first.data)
	c.first.data = c.first.data[n:]
	if n == 0 {
		return 0, c.first.err
	}
	return n, nil
}

func (c *delayedConn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// proxy stands before a server and adds a delay.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool // nil: closed
	running  sync.WaitGroup
}

func startProxy(delay time.Duration, network, address string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for what delays %s: %w", address, err)
	}
	p := &proxy{listener: delayedListener{l, delay}, open: map[net.Conn]bool{}}
	p.running.Go(func() {
		for {
			client, err := p.listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.carry(client, server)
			p.carry(server, client)
		}
	})
	return p, nil
}

// carry carries one direction of a connection, and ends both when it ends.
func (p *proxy) carry(from, to net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		_ = from.Close()
		return
	}
	p.open[from] = true
	p.running.Go(func() {
		_, _ = io.Copy(to, from) // however it ends, it is the end of the connection
		_, _ = to.Close(), from.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, from)
	})
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// Close ends all connections and waits until they are gone.
func (p *proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.open = nil
	p.mu.Unlock()
	p.running.Wait()
	return err
}
