// Package wire stands between clients and a server and spoils what goes over the line: it cuts, delays and
// withholds, and, where it understands the protocol (Postgres, Kafka), loses one answer on purpose.
//
// It is for tests and the fault machine. What passes is not encrypted.
package wire

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// Fate is what becomes of a request that a proxy was asked about.
type Fate int

const (
	// Forward leaves it as it is.
	Forward Fate = iota
	// CutBefore ends the connection; the server never sees the request.
	CutBefore
	// CutAfter ends the connection instead of the answer; the server does what it was asked for.
	CutAfter
	// Refuse answers that it failed; the server never sees the request. Kafka's OffsetCommit only.
	Refuse
	// NotLeader answers that another one leads; the broker never sees the records. Kafka's Produce only.
	NotLeader
	// NotEnoughReplicas answers that too few replicas would have them; the broker never sees the records.
	// Kafka's Produce only.
	NotEnoughReplicas
	// DoneButLate answers that it timed out; the broker keeps the records. Kafka's Produce only.
	DoneButLate
)

// Proxy stands before one server. Use NewProxy, NewPostgres or NewKafka.
type Proxy struct {
	listener net.Listener
	dial     func() (net.Conn, error)
	pump     func(client, server net.Conn)
	running  sync.WaitGroup
	hits     atomic.Int64

	mu      sync.Mutex
	conns   map[net.Conn]bool // nil: closed
	weather Weather
	random  *rand.Rand    // for the weather
	changed chan struct{} // closed when the weather changes
	onHit   func()
}

// NewProxy listens on a free port of loopback and passes on whatever comes to the server that dial reaches,
// until Close.
func NewProxy(dial func() (net.Conn, error)) (*Proxy, error) {
	p := &Proxy{dial: dial, pump: copyBoth}
	return p, p.start()
}

func (p *Proxy) start() (err error) {
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for a proxy: %w", err)
	}
	p.conns, p.changed, p.random = map[net.Conn]bool{}, make(chan struct{}), rand.New(rand.NewPCG(0, 0))
	p.running.Go(p.accept)
	return nil
}

// Addr is the address that leads through the proxy.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// Hits counts what was spoilt: the requests whose fate was another than Forward (of CutAfter and DoneButLate,
// those that the server had carried out), and what the weather held up, cut or refused.
func (p *Proxy) Hits() int64 { return p.hits.Load() }

// OnHit has f called at each hit, before anybody can notice it; nil: nothing is called. It runs on the connection's own
// goroutine: as long as it takes, nothing more passes there.
func (p *Proxy) OnHit(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onHit = f
}

func (p *Proxy) hit() {
	p.hits.Add(1)
	p.mu.Lock()
	f := p.onHit
	p.mu.Unlock()
	if f != nil {
		f()
	}
}

// Close ends all connections and waits until they are gone. It may be called again.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.drop()
	p.conns = nil // whoever comes now is refused
	p.setWeather(Weather{})
	p.mu.Unlock()
	p.running.Wait()
}

// drop ends all connections; the caller holds mu.
func (p *Proxy) drop() (n int) {
	for c := range p.conns {
		_ = c.Close()
		n++
	}
	return n
}

func (p *Proxy) accept() {
	for {
		accepted, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() {
			client := p.weathered(accepted)
			defer client.Close()
			if !client.admitted() {
				return
			}
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

func (p *Proxy) keep(conns ...net.Conn) bool {
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

func (p *Proxy) forget(conns ...net.Conn) {
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

func copyBoth(client, server net.Conn) {
	carry := func(to io.Writer, from io.Reader) func() error {
		return func() error { _, err := io.Copy(to, from); return err }
	}
	// The plain interfaces, so that no copy in the kernel goes past the weather.
	both(client, server, carry(server, struct{ io.Reader }{client}), carry(struct{ io.Writer }{client}, server))
}

// errCut ends a direction on purpose.
var errCut = errors.New("cut on purpose")
