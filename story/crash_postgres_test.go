//go:build unix

package story_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// statement is what a client is about to run in Postgres.
type statement struct {
	text string
	// within is what the client ran before in the same transaction; nil outside of one.
	within []string
}

// touches tells whether the statement or its transaction mentions the text.
func (s statement) touches(text string) bool {
	return strings.Contains(s.text, text) || slices.ContainsFunc(s.within, func(w string) bool { return strings.Contains(w, text) })
}

// postgresProxy understands as much of the wire protocol as lib/pq speaks: one statement
// at a time, simple or prepared, each answered before the next one.
type postgresProxy struct {
	proxy
	mu     sync.Mutex
	decide func(statement) fate
}

// startPostgresProxy stands before the database at dsn, and returns the address that leads through it.
func startPostgresProxy(tb testing.TB, dsn string) (*postgresProxy, string) {
	tb.Helper()
	behind, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	query := behind.Query()
	socket := fmt.Sprintf("%s/.s.PGSQL.%s", query.Get("host"), query.Get("port"))
	p := &postgresProxy{decide: func(statement) fate { return forward }}
	p.dial = func() (net.Conn, error) { return net.Dial("unix", socket) }
	p.pump = p.pumpSession
	startProxy(tb, &p.proxy)
	through := *behind
	through.Host = p.addr()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	through.RawQuery = query.Encode()
	return p, through.String()
}

// when sets who decides from now on. One statement at a time is decided about.
func (p *postgresProxy) when(decide func(statement) fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

func (p *postgresProxy) fateOf(s statement) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.decide(s)
}

// pgSession is one connection.
type pgSession struct {
	*postgresProxy
	client, server net.Conn
	prepared       map[string]string // statement name → text
	within         []string
	mu             sync.Mutex
	swallowing     bool // the answer to what was forwarded last goes nowhere
	carriedOut     bool // it says that it was done
}

func (p *postgresProxy) pumpSession(client, server net.Conn) {
	s := &pgSession{postgresProxy: p, client: client, server: server, prepared: map[string]string{}}
	both(client, server, s.there, s.back)
}

// pgCancel is the code of a request to cancel, which has a connection to itself.
const pgCancel = 80877102

func (s *pgSession) there() error {
	r := bufio.NewReader(s.client)
	start, err := readPacket(r, 0)
	if err != nil {
		return err
	}
	if _, err := s.server.Write(start); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(start[4:]) == pgCancel {
		_, err := io.Copy(io.Discard, s.server)
		return err
	}
	for {
		packet, err := readPacket(r, 1)
		if err != nil {
			return err
		}
		if s.look(packet) == cutBefore {
			s.hits.Add(1)
			return errCut
		}
		if _, err := s.server.Write(packet); err != nil {
			return err
		}
	}
}

// look reads what a client's packet asks for, and decides about it.
func (s *pgSession) look(packet []byte) fate {
	body := packet[5:]
	var text string
	switch packet[0] {
	case 'Q': // a simple query
		text = word(&body)
	case 'P': // prepare
		name := word(&body)
		s.prepared[name] = word(&body)
		return forward
	case 'B': // run what was prepared; the 'E' and 'S' that follow belong to it
		word(&body) // the portal
		text = s.prepared[word(&body)]
	default:
		return forward
	}
	what := s.fateOf(statement{text, s.within})
	switch {
	case strings.HasPrefix(text, "BEGIN"):
		s.within = []string{text}
	case text == "COMMIT" || text == "ROLLBACK":
		s.within = nil
	case s.within != nil:
		s.within = append(s.within, text)
	}
	if what == cutAfter {
		s.mu.Lock()
		s.swallowing = true
		s.mu.Unlock()
	}
	return what
}

func (s *pgSession) back() error {
	r := bufio.NewReader(s.server)
	for {
		packet, err := readPacket(r, 1)
		if err != nil {
			return err
		}
		s.mu.Lock()
		swallowing := s.swallowing
		s.mu.Unlock()
		if !swallowing {
			if _, err := s.client.Write(packet); err != nil {
				return err
			}
			continue
		}
		switch body := packet[5:]; packet[0] {
		case 'C': // a COMMIT of a failed transaction is answered with ROLLBACK
			s.carriedOut = word(&body) != "ROLLBACK"
		case 'Z': // ready for the next one
			if s.carriedOut {
				s.hits.Add(1)
			}
			return errCut
		}
	}
}

// readPacket reads one packet: its type, unless it has none, its length and its body.
func readPacket(r *bufio.Reader, typed int) ([]byte, error) {
	head, err := r.Peek(typed + 4)
	if err != nil {
		return nil, err
	}
	packet := make([]byte, typed+int(binary.BigEndian.Uint32(head[typed:])))
	_, err = io.ReadFull(r, packet)
	return packet, err
}

// word takes a text that ends with NUL off the front.
func word(body *[]byte) string {
	text, rest, _ := bytes.Cut(*body, []byte{0})
	*body = rest
	return string(text)
}
