package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
)

// Statement is what a client is about to run in Postgres.
type Statement struct {
	Text string
	// Within is what the client ran before in the same transaction; nil outside of one.
	Within []string
}

// Touches tells whether the statement or its transaction mentions the text.
func (s Statement) Touches(text string) bool {
	return strings.Contains(s.Text, text) || slices.ContainsFunc(s.Within, func(w string) bool { return strings.Contains(w, text) })
}

// Postgres is a proxy that understands as much of the protocol as lib/pq speaks: one statement at a time,
// simple or prepared, each answered before the next one. Refuse and the fates after it are not for it.
type Postgres struct {
	Proxy
	deciding sync.Mutex
	decide   func(Statement) Fate
}

// NewPostgres stands before the server that dial reaches, until Close.
func NewPostgres(dial func() (net.Conn, error)) (*Postgres, error) {
	p := &Postgres{decide: func(Statement) Fate { return Forward }}
	p.dial, p.pump = dial, p.pumpSession
	return p, p.start()
}

// When sets who decides from now on; nil: everything is forwarded. One statement at a time is decided about.
func (p *Postgres) When(decide func(Statement) Fate) {
	if decide == nil {
		decide = func(Statement) Fate { return Forward }
	}
	p.deciding.Lock()
	defer p.deciding.Unlock()
	p.decide = decide
}

func (p *Postgres) fateOf(s Statement) Fate {
	p.deciding.Lock()
	defer p.deciding.Unlock()
	return p.decide(s)
}

// pgSession is one connection.
type pgSession struct {
	*Postgres
	client, server net.Conn
	prepared       map[string]string // statement name → text
	within         []string
	mu             sync.Mutex
	swallowing     bool // the answer to what was forwarded last goes nowhere
	carriedOut     bool // it says that it was done
}

func (p *Postgres) pumpSession(client, server net.Conn) {
	s := &pgSession{Postgres: p, client: client, server: server, prepared: map[string]string{}}
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
		if s.look(packet) == CutBefore {
			s.hit()
			return errCut
		}
		if _, err := s.server.Write(packet); err != nil {
			return err
		}
	}
}

// look reads what a client's packet asks for, and decides about it.
func (s *pgSession) look(packet []byte) Fate {
	body := packet[5:]
	var text string
	switch packet[0] {
	case 'Q': // a simple query
		text = word(&body)
	case 'P': // prepare
		name := word(&body)
		s.prepared[name] = word(&body)
		return Forward
	case 'B': // run what was prepared; the 'E' and 'S' that follow belong to it
		word(&body) // the portal
		text = s.prepared[word(&body)]
	default:
		return Forward
	}
	what := s.fateOf(Statement{text, s.within})
	switch {
	case strings.HasPrefix(text, "BEGIN"):
		s.within = []string{text}
	case text == "COMMIT" || text == "ROLLBACK":
		s.within = nil
	case s.within != nil:
		s.within = append(s.within, text)
	}
	if what == CutAfter {
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
				s.hit()
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
