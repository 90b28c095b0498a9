//go:build unix

package story_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// fate is what a proxy does with a request it was asked about.
type fate int

const (
	// forward: nothing happens to it.
	forward fate = iota
	// cutBefore: the connection ends and the server never sees the request.
	cutBefore
	// cutAfter: the server does what it was asked for; the connection ends instead of the answer.
	cutAfter
	// refuse: the server never sees the request; the proxy answers that it failed.
	refuse
)

// proxy stands between a router and a server, and passes each connection to pump.
type proxy struct {
	listener net.Listener
	dial     func() (net.Conn, error)
	pump     func(client, server net.Conn)
	open     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool
	// hits counts the requests whose fate was another than forward, and, for cutAfter,
	// that the server had carried out.
	hits atomic.Int64
}

// startProxy listens on a free port until the test is over.
func startProxy(tb testing.TB, p *proxy) {
	tb.Helper()
	var err error
	if p.listener, err = net.Listen("tcp", address(0)); err != nil {
		tb.Fatalf("listen for the proxy: %v", err)
	}
	p.conns = map[net.Conn]bool{}
	p.open.Go(p.accept)
	tb.Cleanup(func() {
		_ = p.listener.Close()
		p.mu.Lock()
		for c := range p.conns {
			_ = c.Close()
		}
		p.conns = nil // whoever comes now is refused
		p.mu.Unlock()
		p.open.Wait()
	})
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.open.Go(func() {
			defer client.Close()
			server, err := p.dial()
			if err != nil {
				return // as if the server were away, which it is
			}
			defer server.Close()
			if p.keep(client, server) {
				p.pump(client, server)
				p.forget(client, server)
			}
		})
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.conns == nil {
			return false
		}
		p.conns[c] = true
	}
	return true
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// both runs the two directions of a connection, and ends both when one ends.
func both(client, server net.Conn, there, back func() error) {
	var done sync.WaitGroup
	for _, direction := range []func() error{there, back} {
		done.Go(func() {
			_ = direction() // however it ends, it is the end of the connection
			_ = client.Close()
			_ = server.Close()
		})
	}
	done.Wait()
}

// errCut ends a direction on purpose.
var errCut = io.ErrClosedPipe
