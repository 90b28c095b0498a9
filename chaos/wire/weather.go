package wire

import (
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"
)

// Weather is what all connections through a proxy are exposed to. The zero value is fine weather.
type Weather struct {
	// Cut ends all connections, and every new one at once.
	Cut bool
	// Silent lets nothing through in either direction and tells nobody: what was sent meanwhile arrives when it is
	// over, if somebody still waits for it. A side that gives up is not reported to the other.
	Silent bool
	// Delay is how much later each piece arrives, up to Jitter more by chance. Pieces are delayed one after the
	// other, so the line gets slow as well as long.
	Delay, Jitter time.Duration
	// Piece is how many bytes go through at once, at most; 0: any number.
	Piece int
	// ResetAfter ends each connection with a reset after so many bytes, half of it to all of it by chance; 0: never.
	ResetAfter int
	// Seed is where chance comes from: what is drawn is the same for the same seed, who draws it is not.
	Seed uint64
}

// SetWeather changes the weather, of connections that are open too.
func (p *Proxy) SetWeather(w Weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return
	}
	if w.Cut {
		p.hits.Add(int64(p.drop()))
	}
	p.setWeather(w)
}

// setWeather wakes whoever waits for a change; the caller holds mu.
func (p *Proxy) setWeather(w Weather) {
	p.weather, p.random = w, rand.New(rand.NewPCG(w.Seed, 0))
	close(p.changed)
	p.changed = make(chan struct{})
}

// Drop ends all connections that there are; new ones are welcome.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hits.Add(int64(p.drop()))
}

func (p *Proxy) now() (Weather, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.weather, p.changed
}

// outside is a connection as the weather lets it be.
type outside struct {
	net.Conn
	proxy *Proxy
	// share is which part of ResetAfter this connection lives for.
	share  float64
	passed atomic.Int64
}

// chance draws from 0 to less than 1.
func (p *Proxy) chance() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.random.Float64()
}

func (p *Proxy) weathered(c net.Conn) *outside {
	return &outside{Conn: c, proxy: p, share: (1 + p.chance()) / 2}
}

// admitted waits while it is silent, and tells whether a new connection is let through.
func (c *outside) admitted() bool {
	w := c.wait()
	if w.Cut {
		c.proxy.hit()
	}
	return !w.Cut
}

// wait returns when it is not silent.
func (c *outside) wait() Weather {
	w, changed := c.proxy.now()
	if w.Silent {
		c.proxy.hit()
	}
	for w.Silent {
		<-changed
		w, changed = c.proxy.now()
	}
	return w
}

// Read hands over what has arrived, as late as the weather wants.
func (c *outside) Read(b []byte) (int, error) {
	w := c.wait()
	if w.Piece > 0 && len(b) > w.Piece {
		b = b[:w.Piece]
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		if failed := c.pass(n); failed != nil {
			return 0, failed
		}
	}
	return n, err
}

// Write sends on, as late as the weather wants.
func (c *outside) Write(b []byte) (sent int, err error) {
	for len(b) > 0 {
		piece := b
		if w, _ := c.proxy.now(); w.Piece > 0 && len(b) > w.Piece {
			piece = b[:w.Piece]
		}
		if err := c.pass(len(piece)); err != nil {
			return sent, err
		}
		n, err := c.Conn.Write(piece)
		sent += n
		if err != nil {
			return sent, err
		}
		b = b[n:]
	}
	return sent, nil
}

// pass makes n bytes wait for their time, or the connection end before they get through.
func (c *outside) pass(n int) error {
	w := c.wait()
	if w.Delay > 0 || w.Jitter > 0 {
		c.proxy.hit()
		time.Sleep(w.Delay + time.Duration(c.proxy.chance()*float64(w.Jitter)))
	}
	if w.ResetAfter == 0 {
		c.passed.Store(0) // what passed in fine weather does not count
		return nil
	}
	if c.passed.Add(int64(n)) < int64(c.share*float64(w.ResetAfter)) {
		return nil
	}
	c.proxy.hit()
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset instead of a farewell
	}
	_ = c.Close()
	return errCut
}
