package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// patience is how long something may take that has to happen; silence is how long nothing must.
const (
	patience = time.Minute
	silence  = 100 * time.Millisecond
)

// echo is a client's connection through a proxy to a server that says back what it hears.
func echo(t *testing.T) (*Proxy, net.Conn) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	p, err := NewProxy(func() (net.Conn, error) { return net.Dial("tcp", server.Addr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, dial(t, p)
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// said sends a text and returns what comes back within a time.
func said(t *testing.T, c net.Conn, text string, within time.Duration) (string, error) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		return "", err
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	answer := make([]byte, len(text))
	n, err := io.ReadFull(c, answer)
	return string(answer[:n]), err
}

func TestFineWeather(t *testing.T) {
	p, c := echo(t)
	if answer, err := said(t, c, "hello", patience); answer != "hello" || err != nil {
		t.Errorf("%q came back: %v", answer, err)
	}
	if p.Hits() != 0 {
		t.Errorf("%d hits in fine weather", p.Hits())
	}
}

func TestACutLineEndsAndRefuses(t *testing.T) {
	p, c := echo(t)
	if _, err := said(t, c, "hello", patience); err != nil {
		t.Fatal(err)
	}
	p.SetWeather(Weather{Cut: true})
	if answer, err := said(t, c, "hello", patience); err == nil {
		t.Errorf("%q came back over a cut line", answer)
	}
	if answer, err := said(t, dial(t, p), "hello", patience); err == nil {
		t.Errorf("%q came back over a new connection of a cut line", answer)
	}
	if p.Hits() == 0 {
		t.Error("nobody felt it")
	}
	p.SetWeather(Weather{})
	if _, err := said(t, dial(t, p), "hello", patience); err != nil {
		t.Errorf("the line is not whole again: %v", err)
	}
}

// A line that is silent holds up what is said, and tells nobody; when it is over, all arrives.
func TestASilentLineLosesNothing(t *testing.T) {
	p, c := echo(t)
	p.SetWeather(Weather{Silent: true})
	var late net.Error
	if answer, err := said(t, c, "hello", silence); !errors.As(err, &late) || !late.Timeout() {
		t.Fatalf("%q came back over a silent line: %v", answer, err)
	}
	p.SetWeather(Weather{})
	_ = c.SetReadDeadline(time.Now().Add(patience))
	answer := make([]byte, len("hello"))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "hello" {
		t.Errorf("%q came back when it was over: %v", answer, err)
	}
	if p.Hits() == 0 {
		t.Error("nobody felt it")
	}
}

func TestAResetComesInTheMiddle(t *testing.T) {
	p, c := echo(t)
	const limit = 1 << 20
	p.SetWeather(Weather{ResetAfter: limit})
	go func() { _, _ = c.Write(bytes.Repeat([]byte("x"), limit)) }()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, err := io.Copy(io.Discard, c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after %d bytes: %v, want a reset", n, err)
	}
	if n >= limit {
		t.Errorf("%d bytes came back of %d", n, limit)
	}
}

func TestACrumblyLineKeepsTheOrder(t *testing.T) {
	p, c := echo(t)
	p.SetWeather(Weather{Piece: 3, Jitter: time.Microsecond})
	const text = "the quick brown fox jumps over the lazy dog"
	if answer, err := said(t, c, text, patience); answer != text || err != nil {
		t.Errorf("%q came back: %v", answer, err)
	}
}

func TestASlowLineTakesItsTime(t *testing.T) {
	p, c := echo(t)
	p.SetWeather(Weather{Delay: silence})
	began := time.Now()
	if answer, err := said(t, c, "hello", patience); answer != "hello" || err != nil {
		t.Errorf("%q came back: %v", answer, err)
	}
	if took := time.Since(began); took < 2*silence { // there and back
		t.Errorf("there and back took %v, want %v at least", took, 2*silence)
	}
}

// Closing must not wait for weather, nor leave anybody behind.
func TestCloseEndsASilentLine(t *testing.T) {
	p, c := echo(t)
	p.SetWeather(Weather{Silent: true})
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { p.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("Close waits for ever")
	}
}

func TestTheSameSeedHasTheSameWeather(t *testing.T) {
	draw := func(seed uint64) (list [5]float64) {
		p, err := NewProxy(func() (net.Conn, error) { return nil, net.ErrClosed })
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		p.SetWeather(Weather{Seed: seed})
		for i := range list {
			list[i] = p.chance()
		}
		return list
	}
	if one, same, other := draw(1), draw(1), draw(2); one != same || one == other {
		t.Errorf("seed 1 draws %v and then %v, seed 2 %v", one, same, other)
	}
}
