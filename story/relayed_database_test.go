package story_test

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"millrace/transport"
)

// modelDatabase is what a relay knows of a database: the outbox, and the leases. It understands the relay's statements and no
// others, keeps its time by the clock of the test, and fails as it is told to.
type modelDatabase struct {
	mu     sync.Mutex
	rows   []modelRow // by id
	nextID int64
	leases map[string]modelLease
	// fails decides about the nth statement of one text that somebody runs: not run, or run and then reported as failed.
	fails func(kind string, n int) mishap
}

// modelConnector is one process's way to the database.
type modelConnector struct {
	*modelDatabase
	who string
	ran map[string]int // statements, by their text: a process runs those of one text one after the other
}

type modelRow struct {
	id         int64
	record     transport.Record
	unsendable bool
	written    time.Time
	visible    time.Time // when its transaction commits: rows with higher ids may be there before
}

type modelLease struct {
	holder string
	until  time.Time
}

// write adds rows of one transaction, which commits after the given time.
func (d *modelDatabase) write(records []transport.Record, after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range records {
		d.nextID++
		d.rows = append(d.rows, modelRow{id: d.nextID, record: r, written: time.Now(), visible: time.Now().Add(after)})
	}
}

// unsent counts the rows that are left.
func (d *modelDatabase) unsent() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.rows)
}

// expire ends a lease before its time, as a clock that jumps does: its holder goes on for a moment, beside the next one.
func (d *modelDatabase) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, l := range d.leases {
		l.until = time.Now()
		d.leases[name] = l
	}
}

// Connect implements driver.Connector.
func (c *modelConnector) Connect(context.Context) (driver.Conn, error) { return modelConn{c}, nil }

// Driver implements driver.Connector; nobody asks.
func (c *modelConnector) Driver() driver.Driver { return nil }

type modelConn struct{ *modelConnector }

func (c modelConn) Prepare(query string) (driver.Stmt, error) { return modelStmt{c, query}, nil }
func (modelConn) Close() error                                { return nil }
func (modelConn) Begin() (driver.Tx, error) {
	return nil, fmt.Errorf("the relay has no transactions")
}

type modelStmt struct {
	modelConn
	query string
}

func (modelStmt) Close() error  { return nil }
func (modelStmt) NumInput() int { return -1 }

// Exec implements driver.Stmt.
func (s modelStmt) Exec(args []driver.Value) (driver.Result, error) {
	result, err := s.run(args)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(len(result)), nil
}

// Query implements driver.Stmt.
func (s modelStmt) Query(args []driver.Value) (driver.Rows, error) {
	rows, err := s.run(args)
	if err != nil {
		return nil, err
	}
	return &modelRows{rows: rows}, nil
}

// run runs a statement, or what happens instead.
func (s modelStmt) run(args []driver.Value) ([][]driver.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := s.who + s.query
	s.ran[kind]++
	how := s.fails(kind, s.ran[kind])
	if how == lost {
		return nil, io.ErrUnexpectedEOF
	}
	rows, err := s.answer(args)
	if err == nil && how == executed {
		return nil, io.ErrUnexpectedEOF
	}
	return rows, err
}

const (
	readsOutbox = "SELECT id, topic, key, payload, headers, unsendable FROM millrace.outbox "
)

func (s modelStmt) answer(args []driver.Value) ([][]driver.Value, error) {
	now := time.Now()
	switch q := s.query; {
	case strings.HasPrefix(q, "INSERT INTO millrace.leases"):
		name, holder, ttl := args[0].(string), args[1].(string), time.Duration(args[2].(int64))*time.Millisecond
		if l := s.leases[name]; l.holder != holder && l.until.After(now) {
			return nil, nil
		}
		s.leases[name] = modelLease{holder, now.Add(ttl)}
		return make([][]driver.Value, 1), nil
	case strings.HasPrefix(q, "UPDATE millrace.leases"):
		name, holder := args[0].(string), args[1].(string)
		if s.leases[name].holder != holder {
			return nil, nil
		}
		delete(s.leases, name)
		return make([][]driver.Value, 1), nil
	case strings.HasPrefix(q, readsOutbox+"WHERE id > $1"):
		return s.page(now, args[1].(int64), func(id int64) bool { return id > args[0].(int64) }), nil
	case strings.HasPrefix(q, readsOutbox+"WHERE id = ANY"):
		ids := numbersIn(args[0])
		return s.page(now, int64(len(ids)), func(id int64) bool { return slices.Contains(ids, id) }), nil
	case strings.HasPrefix(q, "SELECT * FROM (") && strings.Contains(q, "AS gap(lo, hi)"):
		lo, hi := numbersIn(args[2]), numbersIn(args[3])
		return s.page(now, args[1].(int64), func(id int64) bool {
			for i := range lo {
				if lo[i] <= id && id <= hi[i] {
					return true
				}
			}
			return id > args[0].(int64)
		}), nil
	case strings.HasPrefix(q, "DELETE FROM millrace.outbox"):
		ids, before := numbersIn(args[0]), len(s.rows)
		s.rows = slices.DeleteFunc(s.rows, func(r modelRow) bool { return slices.Contains(ids, r.id) })
		return make([][]driver.Value, before-len(s.rows)), nil
	case strings.HasPrefix(q, "UPDATE millrace.outbox SET unsendable"):
		ids := numbersIn(args[0])
		for i := range s.rows {
			s.rows[i].unsendable = s.rows[i].unsendable || slices.Contains(ids, s.rows[i].id)
		}
		return make([][]driver.Value, len(ids)), nil
	case strings.HasPrefix(q, "SELECT count(*), coalesce(min(id), 0)"):
		return s.backlog(now, args[0].(int64)), nil
	}
	panic("the model of a database does not know the statement: " + s.query) // a relay that says something new needs a new model
}

func (d *modelDatabase) page(now time.Time, limit int64, wanted func(id int64) bool) (page [][]driver.Value) {
	for _, r := range d.rows {
		if int64(len(page)) == limit {
			break
		}
		if r.visible.After(now) || !wanted(r.id) {
			continue
		}
		headers := map[string]string{}
		for _, h := range r.record.Headers {
			headers[h.Key] = string(h.Value)
		}
		block, err := json.Marshal(headers)
		if err != nil {
			panic(err)
		}
		page = append(page, []driver.Value{r.id, r.record.Topic, r.record.Key, r.record.Value, block, r.unsendable})
	}
	return page
}

func (d *modelDatabase) backlog(now time.Time, after int64) [][]driver.Value {
	var n, lowest, highest int64
	age := 0.0
	for _, r := range d.rows {
		if r.id > after && !r.visible.After(now) {
			if n++; n == 1 {
				lowest, age = r.id, now.Sub(r.written).Seconds()
			}
			highest = r.id
		}
	}
	return [][]driver.Value{{n, lowest, highest, age}}
}

// numbersIn reads an array as pq sends it: {1,2}.
func numbersIn(array driver.Value) (list []int64) {
	text := strings.Trim(fmt.Sprintf("%s", array), "{}")
	if text == "" {
		return nil
	}
	for _, part := range strings.Split(text, ",") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			panic(err)
		}
		list = append(list, n)
	}
	return list
}

type modelRows struct{ rows [][]driver.Value }

func (r *modelRows) Columns() []string {
	if len(r.rows) == 0 {
		return nil
	}
	return make([]string, len(r.rows[0]))
}

func (r *modelRows) Close() error { return nil }

func (r *modelRows) Next(into []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	copy(into, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}
