//go:build unix

package story_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/lib/pq" // for the provider's ledger

	"millrace/config"
	"millrace/signature"
)

// requestTimeout is for one request.
const requestTimeout = 20 * time.Second

// shop is how a story sees the system: its REST API, and the books of the payment provider.
type shop struct {
	t     testing.TB
	nodes []*node
	books *sql.DB
	turn  *atomic.Int64
}

// openShop opens a shop on running nodes. books is the database of the payment service,
// in which the simulated provider keeps its own ledger.
func openShop(tb testing.TB, books string, nodes ...*node) *shop {
	tb.Helper()
	db, err := sql.Open("postgres", books)
	if err != nil {
		tb.Fatalf("open the provider's books: %v", err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return &shop{t: tb, nodes: nodes, books: db, turn: new(atomic.Int64)}
}

// in is the same shop in another test.
func (s *shop) in(tb testing.TB) *shop {
	same := *s
	same.t = tb
	return &same
}

// serviceOf says which service answers under a path.
func serviceOf(path string) string {
	for prefix, service := range map[string]string{
		"/orders": "order", "/inventory": "inventory", "/reservations": "inventory", "/payments": "payment",
		"/shipments": "shipping", "/notifications": "notification", "/analytics": "analytics",
	} {
		if strings.HasPrefix(path, prefix) {
			return service
		}
	}
	return ""
}

// url is where the path is served: at one of the running nodes with that service, on the
// port with all routes if there is one. Several take turns.
func (s *shop) url(path string) (string, error) {
	service, first := serviceOf(path), int(s.turn.Add(1))
	for i := range s.nodes {
		n := s.nodes[(first+i)%len(s.nodes)]
		if !n.runs() {
			continue
		}
		if port, all := n.ports[service], n.ports[""]; port != 0 {
			if len(n.services) == len(config.AllServices()) {
				port = all
			}
			return "http://" + address(port) + path, nil
		}
	}
	return "", fmt.Errorf("nobody runs the %s service, which has %s", service, path)
}

type header map[string]string

// try makes a request; from any goroutine.
func (s *shop) try(method, path string, h header, body []byte) (status int, answer []byte, err error) {
	url, err := s.url(path)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range h {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// do makes a request whose answer must have that status, and reads it.
func (s *shop) do(method, path string, h header, body any, want int, into any) {
	s.t.Helper()
	var sent []byte
	if body != nil {
		sent = encode(s.t, body)
	}
	status, answer, err := s.try(method, path, h, sent)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	if status != want {
		s.t.Fatalf("%s %s answers %d, want %d: %s", method, path, status, want, answer)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer, into); err != nil {
		s.t.Fatalf("%s %s answers %s: %v", method, path, answer, err)
	}
}

// errNotThere is 404.
var errNotThere = errors.New("not there")

// read is GET; errNotThere for what is not there.
func (s *shop) read(path string, into any) error {
	status, answer, err := s.try(http.MethodGet, path, nil, nil)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound:
		return errNotThere
	case status != http.StatusOK:
		return fmt.Errorf("GET %s answers %d: %s", path, status, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("GET %s answers %s: %w", path, answer, err)
	}
	return nil
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// articles numbers the articles of all stories.
var articles atomic.Int64

// article puts a new article on the shelf and returns its SKU.
func (s *shop) article(pieces int) string {
	s.t.Helper()
	sku := fmt.Sprintf("STORY-%d", articles.Add(1))
	s.restock(sku, pieces)
	return sku
}

func (s *shop) restock(sku string, pieces int) {
	s.t.Helper()
	s.do(http.MethodPut, "/inventory/"+sku, nil, map[string]any{"name": "Of a story", "add": pieces}, http.StatusOK, nil)
}

// signed is the header of a callback that was signed now.
func signed(secret string, body []byte) header {
	return header{signature.Header: signature.Sign([]byte(secret), body, time.Now())}
}
