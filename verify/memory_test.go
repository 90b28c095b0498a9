package verify

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"millrace/verify/spill"
)

// The databases of this test are made up row by row as they are read: they take no memory themselves.

// manyOrders is a database with the order service's tables, and that many orders, which were all out of stock.
type manyOrders int

func (n manyOrders) Connect(context.Context) (driver.Conn, error) { return madeUp{n}, nil }
func (n manyOrders) Driver() driver.Driver                        { return nil }

var errNotMadeUp = errors.New("this database only answers")

type madeUp struct{ orders manyOrders }

func (madeUp) Prepare(string) (driver.Stmt, error) { return nil, errNotMadeUp }
func (madeUp) Begin() (driver.Tx, error)           { return nil, errNotMadeUp }
func (madeUp) Close() error                        { return nil }
func (madeUp) Commit() error                       { return nil }
func (madeUp) Rollback() error                     { return nil }

func (c madeUp) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) { return c, nil }

func (madeUp) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.ResultNoRows, nil
}

const (
	outOfStock    = `{"status":"CANCELLED","reason":"OUT_OF_STOCK","stock":{"rejected":true},` + outOfStockWas + `}`
	outOfStockWas = `"customerId":"c-1","items":[{"sku":"MUG-RED","quantity":2,"unitPrice":1250}],"total":{"amount":2500,"currency":"EUR"}`
)

// outOfStockHistory is the type and the data of each entry.
var outOfStockHistory = [][2]string{
	{factPlaced, `{` + outOfStockWas + `}`}, {factStockRejected, `{}`},
	{factStatusChanged, `{"status":"CANCELLED","previous":"PENDING","reason":"OUT_OF_STOCK"}`},
}

func (c madeUp) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	at := time.UnixMicro(now).UTC()
	entries := len(outOfStockHistory)
	switch {
	case strings.HasPrefix(query, "SELECT clock_timestamp()"):
		return &madeUpRows{width: 2, count: 1, row: func(_ int, to []driver.Value) { to[0], to[1] = at, "many" }}, nil
	case strings.HasPrefix(query, "SELECT t FROM unnest("):
		tables := []string{serviceTables[orders], tableHistory}
		return &madeUpRows{width: 1, count: len(tables), row: func(i int, to []driver.Value) { to[0] = tables[i] }}, nil
	case strings.HasSuffix(query, " FROM "+tableHistory):
		return &madeUpRows{width: 5, count: int(c.orders) * entries, row: func(i int, to []driver.Value) {
			entry := outOfStockHistory[i%entries]
			to[0], to[1], to[2], to[3], to[4] = madeUpID(i/entries), int64(i%entries+1), entry[0], []byte(entry[1]), itsRequest
		}}, nil
	case strings.HasSuffix(query, " FROM "+serviceTables[orders]):
		return &madeUpRows{width: 11, count: int(c.orders), row: func(i int, to []driver.Value) {
			copy(to, []driver.Value{madeUpID(i), []byte(outOfStock), int64(entries), int64(2), []byte(madeUpID(-i - 1)), int64(1), []byte(""), itsRequest, false, at.Add(-time.Hour), statusCancelled})
		}}, nil
	}
	return nil, errNotMadeUp
}

// madeUpID is the text of the n-th id; the last byte, which chooses the bucket, differs from one to the next.
func madeUpID(n int) string {
	var i id
	binary.BigEndian.PutUint64(i[8:], uint64(int64(n)))
	i[6], i[8] = 0x70, 0x80
	if n < 0 {
		i[0] = 1
	}
	return i.String()
}

type madeUpRows struct {
	width, count, next int
	row                func(i int, to []driver.Value)
}

func (r *madeUpRows) Columns() []string { return make([]string, r.width) }
func (r *madeUpRows) Close() error      { return nil }

func (r *madeUpRows) Next(to []driver.Value) error {
	if r.next == r.count {
		return io.EOF
	}
	r.row(r.next, to)
	r.next++
	return nil
}

// mostAlive looks at many orders and returns how many bytes were alive at the most, of the moments at which it looked.
func mostAlive(t *testing.T, count int) (most uint64) {
	t.Helper()
	const looks = 16 // in each half: while rows are read, and while buckets are checked
	db := sql.OpenDB(manyOrders(count))
	defer db.Close()
	rowsEach, bucketsEach := int64(count*(1+len(outOfStockHistory))/looks), spill.Count/looks
	lookedAt := Progress{}
	report, err := Run(t.Context(), Options{Databases: []Database{{DB: db}}, AtRest: true, Dir: t.TempDir(), Progress: func(p Progress) {
		if p.Rows-lookedAt.Rows < rowsEach && p.Buckets-lookedAt.Buckets < bucketsEach {
			return
		}
		lookedAt = p
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK || report.Counts.Orders != int64(count) {
		t.Fatalf("%d orders, want %d: %+v", report.Counts.Orders, count, report.Invariants)
	}
	return most
}

// What is kept in memory does not grow with the orders: not by as much as their ids would take. (The one bucket that is being
// checked is a 256th of them.)
func TestMemoryDoesNotGrowWithTheOrders(t *testing.T) {
	const few, many = 4_000, 34_000 // few reach every bucket, whose buffers stay
	first := mostAlive(t, few)
	second := mostAlive(t, many)
	ids := uint64(many-few) * uint64(len(id{}))
	t.Logf("%d orders: %d KB; %d orders: %d KB; their ids: %d KB", few, first>>10, many, second>>10, ids>>10)
	if second > first+ids {
		t.Errorf("%d orders more take %d bytes more, which is enough to keep every id", many-few, second-first)
	}
}
