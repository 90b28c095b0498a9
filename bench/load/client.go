package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// answerPatience is more than a router's REQUEST_TIMEOUT: it answers first.
const answerPatience = 20 * time.Second

// maxIdle is how long a connection is kept that nobody uses. A router closes it after a minute, and an order sent at
// that moment would be lost: nobody could tell whether it was taken.
const maxIdle = 10 * time.Second

// client is one connection, kept. It writes requests by hand: the load shares the cores with what is
// measured, and net/http's client costs several times as much.
type client struct {
	url  string
	host string
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	used time.Time
}

func newClient(url string) *client { return &client{url: url} }

func (c *client) dial(ctx context.Context) error {
	u, err := url.Parse(c.url)
	if err != nil {
		return err
	}
	c.host = u.Host
	var dialer net.Dialer
	if c.conn, err = dialer.DialContext(ctx, "tcp", u.Host); err != nil {
		return err
	}
	c.in = bufio.NewReader(c.conn)
	return nil
}

// place posts one order, which has to be accepted.
func (c *client) place(ctx context.Context, body []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("place an order at %s: %w", c.url, err)
		}
	}()
	if c.conn != nil && time.Since(c.used) > maxIdle {
		c.close()
		c.conn = nil
	}
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return err
		}
	}
	defer func() { c.used = time.Now() }()
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	defer stop()
	if err := c.conn.SetDeadline(time.Now().Add(answerPatience)); err != nil {
		return err
	}
	c.out = append(c.out[:0], "POST /orders HTTP/1.1\r\nHost: "...)
	c.out = append(c.out, c.host...)
	c.out = append(c.out, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
	c.out = append(append(c.out, "\r\n\r\n"...), body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("answered with %s: %s", answer.Status, text)
	}
	return err
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
}
